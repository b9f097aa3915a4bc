"""The static GRU is torch's `nn.GRUCell` with a tanh output, its numbers the genome, its bits independent of the population."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import nchl
from nchl.errors import InvalidArgument, OrderError, ShapeError

INPUTS, HIDDEN, OUTPUTS = 5, 7, 3


def genomes(count: int, seed: int = 0) -> torch.Tensor:
    size = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS]).nparams
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def observations(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def torchs(genome: torch.Tensor, xs: torch.Tensor) -> torch.Tensor:
    """The outputs of torch's own modules for `xs (steps, inputs)`, with the genome in the order of their parameters."""
    cell, out = nn.GRUCell(INPUTS, HIDDEN).double(), nn.Linear(HIDDEN, OUTPUTS).double()
    parameters = [*cell.parameters(), *out.parameters()]
    with torch.no_grad():
        for parameter, numbers in zip(parameters, genome.split([p.numel() for p in parameters]), strict=True):
            parameter.copy_(numbers.reshape(parameter.shape))
        h, ys = torch.zeros(1, HIDDEN, dtype=torch.float64), []
        for x in xs:
            h = cell(x[None], h)
            ys.append(torch.tanh(out(h))[0])
    return torch.stack(ys)


def test_it_is_torchs_gru_cell() -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], dtype=torch.float64)
    assert net.nparams == 3 * HIDDEN * (INPUTS + HIDDEN + 2) + OUTPUTS * (HIDDEN + 1)
    genome, xs = genomes(1)[0], observations(20)
    net.set_hrules(genome)
    expected = torchs(genome, xs)
    for _ in range(2):  # a reset forgets the episode before
        torch.testing.assert_close(torch.stack([net.step(x) for x in xs]), expected, rtol=0, atol=1e-12)
        net.reset()


def test_each_of_a_population_is_torchs_gru_cell() -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], population=4, dtype=torch.float64)
    all_genomes, xs = genomes(4), observations(20, 4)
    net.set_hrules(all_genomes)
    ys = torch.stack([net.step(x, active=torch.ones(4, dtype=torch.bool)) for x in xs])
    for k in range(4):
        torch.testing.assert_close(ys[:, k], torchs(all_genomes[k], xs[:, k]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("population", [2, 3, 37])
def test_an_individuals_bits_do_not_depend_on_the_population(population: int) -> None:
    all_genomes, xs = genomes(40).float(), observations(10, 40).float()
    whole = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], population=40)
    whole.set_hrules(all_genomes)
    expected = torch.stack([whole.step(x) for x in xs])
    part = whole.populate(population)
    part.set_hrules(all_genomes[-population:])
    assert torch.equal(torch.stack([part.step(x[-population:]) for x in xs]), expected[:, -population:])


def test_populate_keeps_what_the_network_is() -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], dtype=torch.float64, differentiable=True)
    made = net.populate(6)
    assert (made.population, made.dtype, made.nodes, made.differentiable) == (6, torch.float64, net.nodes, True)
    assert net.populate(None, dtype=torch.float32).dtype is torch.float32


@pytest.mark.parametrize("copied", ["state_dict", "deepcopy", "pickle"])
def test_a_copy_goes_on_in_the_middle_of_an_episode(copied: str) -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], population=3, dtype=torch.float64)
    net.set_hrules(genomes(3))
    xs = observations(6, 3)
    for x in xs[:3]:
        net.step(x)
    if copied == "state_dict":
        other = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], population=3, dtype=torch.float64)
        other.load_state_dict(net.state_dict())
    else:
        other = copy.deepcopy(net) if copied == "deepcopy" else pickle.loads(pickle.dumps(net))
    expected = [net.step(x) for x in xs[3:]]
    assert all(torch.equal(other.step(x), y) for x, y in zip(xs[3:], expected, strict=True))


@pytest.mark.parametrize("population", [None, 3])
def test_a_copy_of_a_differentiable_one_leaves_the_gradient_with_the_original(population: int | None) -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], population=population, dtype=torch.float64, differentiable=True)
    genome, xs = genomes(1)[0].requires_grad_(), observations(4, *net.lead)
    net.set_hrules(genome)
    for x in xs[:2]:
        net.step(x)
    other = copy.deepcopy(net)
    expected = [net.step(x) for x in xs[2:]]
    made = [other.step(x) for x in xs[2:]]
    assert all(torch.equal(y, wanted) for y, wanted in zip(made, expected, strict=True))
    assert not made[-1].requires_grad
    (gradient,) = torch.autograd.grad(expected[-1].sum(), genome)
    assert gradient.abs().sum() > 0
    other.set_hrules(torch.zeros(other.nparams))
    assert torch.equal(net.genome.reshape(-1, net.nparams)[0], genome)


def test_a_batch_is_as_many_episodes() -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], dtype=torch.float64)
    net.set_hrules(genomes(1)[0])
    xs = observations(5, 2)
    ys = torch.stack([net.step(x) for x in xs])
    for k in range(2):
        torch.testing.assert_close(ys[:, k], torchs(genomes(1)[0], xs[:, k]), rtol=0, atol=1e-12)
    with pytest.raises(ShapeError, match="batch of 2, got one of 1"):
        net.forward(xs[0, 0])


def test_nothing_is_plastic_and_all_weights_are_the_genomes() -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS])
    assert not net.plastic
    assert not net.needs_reward
    assert net.weights_per_individual == 0
    assert [tuple(w.shape) for w in net.weights] == [(3 * HIDDEN, INPUTS), (3 * HIDDEN, HIDDEN), (OUTPUTS, HIDDEN)]
    with pytest.raises(OrderError):
        net.update()
    with pytest.raises(InvalidArgument, match="set_hrules"):
        net.reset([torch.zeros(3 * HIDDEN, INPUTS)])
    net.reset(net.draw_weights(torch.Generator()))
    with pytest.raises(InvalidArgument, match="three sizes"):
        nchl.StaticGRU([3, 4, 4, 2])
    for keywords in ({"trace": 0.0}, {"modulate": "reward"}, {"initial_weights": "zeros"}):
        with pytest.raises(InvalidArgument, match=f"{next(iter(keywords))} does not apply"):
            nchl.StaticGRU([3, 4, 2], **keywords)


def test_gradients_reach_the_genome() -> None:
    net = nchl.StaticGRU([INPUTS, HIDDEN, OUTPUTS], dtype=torch.float64, differentiable=True)
    genome, xs = genomes(1)[0].requires_grad_(), observations(3)

    def loss(numbers: torch.Tensor) -> torch.Tensor:
        net.set_hrules(numbers)
        net.reset()
        return sum(net.step(x).sum() for x in xs)

    assert torch.autograd.gradcheck(loss, (genome,))
