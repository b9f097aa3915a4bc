"""Elementwise activations: torch's numbers, bits that do not depend on the place in a tensor, and refusals by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import nchl
from nchl.errors import InvalidArgument, UnknownName
from nchl.networks.activations import NAMES, apply, is_bounded, modules_of

MODULES: dict[str, nn.Module] = {
    **{name: kind() for name, kind in NAMES.items()},
    "threshold": nn.Threshold(0.2, -3.0),
    "gelu by tanh": nn.GELU("tanh"),
    "leakyrelu 0.3": nn.LeakyReLU(0.3),
    "elu 0.4": nn.ELU(0.4),
    "celu 0.4": nn.CELU(0.4),
    "softplus 3, 5": nn.Softplus(3.0, 5.0),
    "hardtanh -0.5, 2": nn.Hardtanh(-0.5, 2.0),
    "hardshrink 1": nn.Hardshrink(1.0),
    "softshrink 1": nn.Softshrink(1.0),
}
NOT_ELEMENTWISE: list[nn.Module] = [
    nn.Softmax(-1), nn.LogSoftmax(-1), nn.Softmin(-1), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.GLU(), nn.PReLU(), nn.RReLU(),
    nn.MultiheadAttention(4, 2), nn.Linear(4, 4),
]  # fmt: skip
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def numbers(dtype: torch.dtype, count: int = 4001) -> torch.Tensor:
    drawn = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    return torch.cat([drawn, torch.linspace(-40, 40, 801).double()]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODULES)
def test_an_activation_is_torchs(name: str, dtype: torch.dtype) -> None:
    x = numbers(dtype)
    made, expected = apply(MODULES[name], x), copy.deepcopy(MODULES[name])(x.double())
    error = (made.double() - expected).abs() / (1 + expected.abs())
    assert made.dtype == dtype
    assert error.max() <= TOLERANCE[dtype], f"{error.max():g} at {x[error.argmax()]:g}"
    kept = x.clone()
    apply(MODULES[name], x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", MODULES)
def test_what_is_no_number_stays_none(name: str) -> None:
    """An individual whose numbers have overflowed is found by its outputs, at any place of the vectorised code."""
    assert torch.isnan(apply(MODULES[name], torch.full((2, 1, 37), torch.nan))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODULES)
def test_a_numbers_bits_do_not_depend_on_its_place(name: str, dtype: torch.dtype) -> None:
    """torch's vectorised code takes 8, 16 or 32 numbers at a time and other code for the rest: odd sizes show both."""
    x = numbers(dtype, 300)
    whole = apply(MODULES[name], x)
    for size in (1, 3, 7, 13, 31):
        for start in range(0, len(x) - size, 97):
            assert torch.equal(apply(MODULES[name], x[start : start + size]), whole[start : start + size]), (size, start)
    alone = torch.cat([apply(MODULES[name], x[k : k + 1]) for k in range(len(x))])
    assert torch.equal(alone, whole)
    assert torch.equal(apply(MODULES[name], x[: 33 * 11].reshape(33, 11).T).T.reshape(-1), whole[: 33 * 11])


@pytest.mark.parametrize("name", MODULES)
def test_the_gradient_is_torchs(name: str) -> None:
    x = numbers(torch.float64, 200).requires_grad_(True)
    x = x[(x.detach() * 100).round() != (x.detach() * 100)]  # not at a kink
    (mine,) = torch.autograd.grad(apply(MODULES[name], x).sum(), x)
    (theirs,) = torch.autograd.grad(copy.deepcopy(MODULES[name])(x).sum(), x)
    # torch computes the gradients of Hardsigmoid and CELU with constants of single precision.
    assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("module", NOT_ELEMENTWISE, ids=lambda module: type(module).__name__)
def test_what_is_not_elementwise_is_refused_by_name(module: nn.Module) -> None:
    name = type(module).__name__
    with pytest.raises(InvalidArgument, match=f"group 'hidden': {name} is not an elementwise function that is known here; known are Tanh"):
        nchl.PlasticGraph({"in": 4, "hidden": nchl.Group(4, activation=module), "out": 2}, [("in", "hidden"), ("hidden", "out")])
    if not isinstance(module, nn.Linear):
        with pytest.raises(InvalidArgument, match=rf"module 1 \({name}\) is not supported"):
            nchl.from_module(nn.Sequential(nn.Linear(4, 4), module, nn.Linear(4, 2)), (4,))


def test_names_and_sequences_of_activations() -> None:
    assert [type(m) for m in modules_of(["gelu", nn.Identity(), nn.Sequential(nn.Dropout(), nn.Tanh())], "x")] == [nn.GELU, nn.Tanh]
    assert modules_of(None, "x") == ()
    assert is_bounded(modules_of(["relu", "tanh"], "x"))
    assert not is_bounded(modules_of(["tanh", "relu"], "x"))
    with pytest.raises(UnknownName, match="unknown activation of group 'x' 'gellu': did you mean 'gelu'"):
        modules_of("gellu", "group 'x'")
    with pytest.raises(InvalidArgument, match="expected an activation by name, a torch module or a sequence of them, got 3"):
        modules_of(3, "x")  # type: ignore[arg-type]

    class Mine(nn.Tanh):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises(InvalidArgument, match="Mine has a forward of its own, other than that of Tanh"):
        modules_of(Mine(), "x")


def life(net: nchl.PlasticNetwork, genomes: torch.Tensor, seen: torch.Tensor) -> list[torch.Tensor]:
    net.set_hrules(genomes)
    net.reset(generator=torch.Generator().manual_seed(4))
    return [net.step(x) for x in seen] + [weight.clone() for weight in net.weights]


def places(backend: str, activation: str) -> None:
    """The same individual at each place of populations of several sizes: the same bits."""

    def make(population: int) -> nchl.PlasticGraph:
        groups = {"in": 3, "hidden": nchl.Group(13, activation=activation), "skip": nchl.Group(5, activation="silu"), "out": 2}
        edges = [("in", "hidden"), ("in", "skip"), ("hidden", "skip"), ("hidden", "out"), ("skip", "out")]
        return nchl.PlasticGraph(groups, edges, population=population, backend=backend)

    generator = torch.Generator().manual_seed(0)
    net = make(9)
    genomes, seen = torch.randn(9, net.nparams, generator=generator) * 0.3, torch.randn(4, 9, 3, generator=generator)
    whole = life(net, genomes, seen)
    order = torch.tensor([4, 0, 8, 2, 6, 1, 3, 7, 5])
    assert all(torch.equal(a, b[order]) for a, b in zip(life(net, genomes[order], seen[:, order]), whole, strict=True))
    some = order[:5]
    assert all(torch.equal(a, b[some]) for a, b in zip(life(make(5), genomes[some], seen[:, some]), whole, strict=True))


@pytest.mark.parametrize("activation", ["gelu", "softplus", "mish", "elu"])
def test_an_individual_has_the_same_bits_at_any_place_of_a_population(activation: str) -> None:
    places("eager", activation)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["gelu", "softplus"])
def test_and_where_the_step_is_compiled(activation: str) -> None:
    places("compiled", activation)


def test_a_skip_connection_of_convolutions_is_torchs_sum() -> None:
    """out = linear(flatten(silu(conv1(x)))) + ...: a residual block with a 1 x 1 shortcut, held still, by plain torch."""
    torch.manual_seed(0)
    inner, shortcut, tail, direct = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1, bias=False), nn.Linear(48, 2), nn.Linear(32, 2)
    net = nchl.PlasticGraph(
        {
            "image": (2, 4, 4),
            "block": nchl.Group((3, 4, 4), activation=nn.GELU()),
            "sum": nchl.Group((3, 4, 4), activation="silu"),
            "out": 2,
        },
        [
            nchl.Edge("image", "block", module=inner),
            nchl.Edge("block", "sum", module=nn.Conv2d(3, 3, 3, padding=1, bias=False)),
            nchl.Edge("image", "sum", module=shortcut),
            nchl.Edge("sum", "out", module=tail),
            nchl.Edge("image", "out", module=direct, rule="static", evolved=False),
        ],
        dtype=torch.float64,
        population=3,
    )
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(3, *edge.shape, generator=generator, dtype=torch.float64) * 0.2 for edge in net.graph.weighted]
    net.reset(weights)
    x = torch.randn(3, 2, 4, 4, generator=generator, dtype=torch.float64)
    made = net.forward(x)
    conv, functional = nn.functional.conv2d, nn.functional
    for k in range(3):
        w = [weight[k] for weight in weights]
        block = functional.gelu(conv(x[k : k + 1], w[0], inner.bias.double(), padding=1))
        total = functional.silu(conv(block, w[1], padding=1) + conv(x[k : k + 1], w[2]))
        out = total.flatten() @ w[3].T + tail.bias.double() + x[k].flatten() @ w[4].T + direct.bias.double()
        assert torch.allclose(made[k], torch.tanh(out), rtol=0, atol=1e-12)
    # The kernels of both edges move by the rule of their own connections.
    net.set_hrules(torch.randn(net.nparams, generator=generator) * 0.1)
    net.update()
    moved = [not torch.equal(before, after) for before, after in zip(weights, net.weights, strict=True)]
    assert moved == [True, True, True, True, False]


def test_a_convolutional_edge_that_does_not_fit_says_why() -> None:
    with pytest.raises(InvalidArgument, match=r"edge 'a' -> 'b': Conv2d.* makes \(3, 2, 2\) neurons, the group has \(3, 4, 4\)"):
        nchl.PlasticGraph({"a": (2, 4, 4), "b": (3, 4, 4)}, [nchl.Edge("a", "b", module=nn.Conv2d(2, 3, 3))])
