from __future__ import annotations

import pytest
import torch

import nchl
from nchl.errors import InvalidArgument, OrderError


@pytest.mark.parametrize("population", [None, 3])
def test_the_genome_is_the_weights_row_major(population):
    lead = () if population is None else (population,)
    net = nchl.StaticMLP([3, 4, 2], population=population, dtype=torch.float64)
    assert net.nparams == 12 + 8
    genome = torch.randn(*lead, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net.set_hrules(genome)
    first, second = genome[..., :12].reshape(*lead, 4, 3), genome[..., 12:].reshape(*lead, 2, 4)
    x = torch.ones(*lead, 3, dtype=torch.float64)
    expected = torch.tanh(second @ torch.tanh(first @ x[..., None]))[..., 0]
    for _ in range(2):
        torch.testing.assert_close(net.step(x), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(net.forward(torch.stack([x, x], dim=-2)), torch.stack([expected, expected], dim=-2), rtol=0, atol=1e-13)
    assert torch.equal(net.weights[0], first)


@pytest.mark.parametrize("keywords", [{"initial_weights": "zeros"}, {"normalise": "max"}, {"rule": "nchl"}])
def test_what_has_no_meaning_is_refused(keywords):
    with pytest.raises(InvalidArgument, match=f"{next(iter(keywords))} does not apply"):
        nchl.StaticMLP([3, 2], **keywords)
    nchl.StaticMLP([3, 2], **dict.fromkeys(keywords))


def test_weights_are_set_by_the_genome_alone():
    net = nchl.StaticMLP([3, 2])
    with pytest.raises(InvalidArgument, match="set_hrules"):
        net.reset([torch.zeros(2, 3)])
    net.reset(net.draw_weights(torch.Generator()))
    with pytest.raises(OrderError):
        net.update()
