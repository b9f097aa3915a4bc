"""The contract of `PlasticNetwork`, run: every built-in network keeps it, and each way of breaking it is found and said."""

from __future__ import annotations

import inspect
import random
import textwrap
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nchl
from nchl.errors import ContractError, InvalidArgument, ShapeError
from nchl.genome import Layout
from nchl.networks.contract.findings import findings, hold
from nchl.networks.user.copies import Copies
from nchl.testing import check_network


def example() -> type[nchl.PlasticNetwork]:
    """The class in the docstring of `PlasticNetwork`."""
    lines = inspect.cleandoc(nchl.PlasticNetwork.__doc__ or "").splitlines()
    first = next(k for k, line in enumerate(lines) if line.strip().startswith("class "))
    last = next(k for k in range(first + 1, len(lines)) if lines[k] and not lines[k].startswith("    "))
    names: dict[str, Any] = {"nchl": nchl, "torch": torch, "Layout": Layout}
    exec(textwrap.dedent("\n".join(lines[first:last])), names)
    return names["Reversal"]


Reversal = example()


class Own(Reversal):
    """A correct class, which each of the tests below breaks in one way."""

    def __init__(self) -> None:
        super().__init__(3, 2)


def sequential() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))


BUILT_IN = {
    "nchl": lambda: nchl.NcHL([3, 4, 2]),
    "hl": lambda: nchl.HL([3, 4, 2]),
    "wnchl": lambda: nchl.WNcHL([3, 4, 2], window=2),
    "static": lambda: nchl.StaticMLP([3, 4, 2]),
    "gru": lambda: nchl.StaticGRU([3, 4, 2]),
    "elman": lambda: nchl.StaticMLP([3, 4, 2], recurrent=True),
    "time": lambda: nchl.NcHL([3, 4, 2], recurrent=True, average="ema:0.3", every=2, trace=0.9, modulate="reward", normalise="row"),
    "advantage": lambda: nchl.HL([3, 4, 2], modulate="advantage:0.1", average="mean:2"),
    "coevolved, double": lambda: nchl.NcHL([3, 4, 2], initial_weights="coevolved", dtype=torch.float64),
    "differentiable": lambda: nchl.NcHL([3, 4, 2], differentiable=True),
    "a population": lambda: nchl.NcHL([3, 4, 2], population=3),
    "from a module": lambda: nchl.from_module(sequential(), (2, 6, 6)),
    "evolved biases": lambda: nchl.from_module(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), (3,), rule="hl", biases="evolve"),
    "skip": lambda: nchl.PlasticGraph(
        {"in": 3, "hidden": nchl.Group(4, activation="gelu"), "out": 2},
        [("in", "hidden"), ("in", "out"), nchl.Edge("hidden", "out", rule="static"), nchl.Edge("out", "hidden", delay=1, rule="hl")],
    ),
    "copies": lambda: Own().populate(3),
    "own": Own,
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_keep_the_contract(name: str) -> None:
    check_network(BUILT_IN[name]())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nchl.NcHL, nchl.HL])
def test_compiled_populations_keep_the_contract(kind: Any) -> None:
    check_network(kind([3, 4, 2], population=3, backend="compiled"))


def test_the_presets_of_the_command_line_keep_the_contract() -> None:
    from nchl.networks.build import CONVOLUTIONAL, MLPS, NetworkSpec, build

    for name in MLPS:
        check_network(build(NetworkSpec(name, hidden=(3,)), (4,), 2))  # every name of the command line
    for name in CONVOLUTIONAL:
        net = build(NetworkSpec(name), (1, 16, 16), 2)
        assert findings(net, quick=True) == []


def test_the_example_of_the_docstring_learns_what_it_says() -> None:
    net = Reversal(2, 1)
    net.set_hrules([0.5, -0.5])
    net.reset([torch.tensor([[0.3, 0.1]])])
    x = torch.tensor([1.0, 2.0])
    y = net.step(x)
    assert torch.allclose(y, torch.tanh(torch.tensor([0.5])))
    assert torch.allclose(net.weights[0], torch.tensor([[0.3 + 0.5 * y.item(), 0.1 - 0.5 * 2 * y.item()]]))


# Ways to break the contract: a class, and the beginning of the finding that it must give.
def breaks(expected: str) -> Any:
    def mark(cls: type) -> type:
        BROKEN.append(pytest.param(cls, expected, id=cls.__name__))
        return cls

    return mark


BROKEN: list[Any] = []


@breaks("output_size: expected a whole number of at least 1, got None; pass output_size=N")
class NoSize(Own):
    output_size = property(lambda self: None, lambda self, value: None)  # type: ignore[assignment]


@breaks("nparams: expected the layout's 6 numbers, got 7")
class OtherLength(Own):
    nparams = property(lambda self: 7)  # type: ignore[assignment]


@breaks("notes: expected a list of texts")
class Notes(Own):
    def __init__(self) -> None:
        super().__init__()
        self.notes = "slow"  # type: ignore[assignment]


@breaks("genome: expected a buffer of the module")
class NoBuffer(Own):
    def __init__(self) -> None:
        super().__init__()
        held = self.genome
        del self._buffers["genome"]
        self.genome = held


@breaks("set_hrules: expected the second vector to replace the first")
class Adds(Own):
    def set_hrules(self, vector: Any) -> None:
        nchl.PlasticNetwork.set_hrules(self, self.genome + torch.as_tensor(vector))


@breaks("set_hrules: expected InvalidArgument for numbers that are not finite")
class Trusting(Own):
    def set_hrules(self, vector: Any) -> None:
        given = torch.as_tensor(vector)
        if given.shape != self.genome.shape:
            raise ShapeError("another length")
        self.genome.copy_(given)


@breaks("set_hrules: expected the lifetime of the genome that was set last")
class Stale(Own):
    def update(self, reward: Any = None) -> None:
        self.first = getattr(self, "first", None)
        if self.first is None:
            self.first = self.genome.clone()
        held = self.genome.clone()
        self.genome.copy_(self.first)
        super().update(reward)
        self.genome.copy_(held)


@breaks("update before forward: expected an OrderError, got no error")
class NoOrder(Own):
    def update(self, reward: Any = None) -> None:
        if self.x is not None:
            super().update(reward)


@breaks("forward: expected a tensor of shape (2,) (output_size is 2), got (3,)")
class OneMore(Own):
    def forward(self, x: Any) -> Any:
        return torch.cat([super().forward(x), torch.zeros(1)])


@breaks("forward: expected outputs of torch.float32, got torch.float64")
class Double(Own):
    def forward(self, x: Any) -> Any:
        return super().forward(x).double()


@breaks("forward: expected finite outputs, got 2 that are not")
class NotFinite(Own):
    def forward(self, x: Any) -> Any:
        return super().forward(x) / 0


@breaks("output_bounded: expected outputs in [-1, 1]")
class Unbounded(Own):
    def forward(self, x: Any) -> Any:
        return 5 + super().forward(x)


@breaks("forward: expected outputs that stay as they were given")
class SameMemory(Own):
    def forward(self, x: Any) -> Any:
        if not hasattr(self, "out"):
            self.out = torch.zeros(2)
        return self.out.copy_(super().forward(x))


@breaks("update: expected the observation as it was at forward")
class KeepsReference(Own):
    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        self.x = x
        return y


@breaks("forward: expected an error for an observation of shape (4,)")
class AnySize(Own):
    def forward(self, x: Any) -> Any:
        return super().forward(x[:3])


@breaks("weights: expected a list of tensors, got Tensor")
class BareWeights(Own):
    weights = property(lambda self: self.w)  # type: ignore[assignment]


@breaks("weights[0]: expected shape (out, in), got (6,)")
class FlatWeights(Own):
    weights = property(lambda self: [self.w.flatten()])  # type: ignore[assignment]


@breaks("draw_weights: expected the same weights from the same generator")
class OwnChance(Own):
    def draw_weights(self, generator: Any) -> Any:
        return super().draw_weights(self._generator)


@breaks("reset: expected the weights that it was given, got others")
class IgnoresWeights(Own):
    def reset(self, weights: Any = None, generator: Any = None) -> None:
        super().reset(None, torch.Generator().manual_seed(3))


@breaks("reset: expected a copy of the given weights")
class KeepsWeights(Own):
    def reset(self, weights: Any = None, generator: Any = None) -> None:
        super().reset(weights, generator)
        if weights is not None and weights[0].shape == self.w.shape:
            self.w = weights[0]


@breaks("reset: expected the same lifetime again, got another one")
class Remembers(Own):
    def forward(self, x: Any) -> Any:
        self.age = getattr(self, "age", 0) + 1
        return super().forward(x) / self.age


@breaks("step: expected forward(x), then update(reward), got other numbers")
class OtherStep(Own):
    def step(self, x: Any, active: Any = None, *, reward: Any = None) -> Any:
        self.forward(x)
        self.update()
        return self.forward(x)


@breaks("copy.deepcopy: expected a copy that goes on as the network does")
class BadCopy(Own):
    def __deepcopy__(self, memo: Any) -> Any:
        made = BadCopy()
        made.spoilt = getattr(self, "spoilt", 0) + 1
        made.set_hrules(self.genome)
        made.w.copy_(self.w)
        return made

    def forward(self, x: Any) -> Any:
        return super().forward(x) / (1 + getattr(self, "spoilt", 0))


@breaks("plastic: expected weights that stay where it is False")
class AlwaysMoves(Own):
    def step(self, x: Any, active: Any = None, *, reward: Any = None) -> Any:
        y = self.forward(x)
        self.update()
        return y


@breaks("needs_reward: expected an error for update() without a reward")
class NeedsNothing(Own):
    needs_reward = property(lambda self: True)  # type: ignore[assignment]

    def step(self, x: Any, active: Any = None, *, reward: Any = None) -> Any:
        if reward is not None:
            self.update(reward)
        return self.forward(x)


@breaks("randomness: expected no global generator to be used, got draws from that of torch and numpy")
class GlobalChance(Own):
    def forward(self, x: Any) -> Any:
        torch.rand(1), np.random.rand()  # noqa: NPY002
        return super().forward(x)


@breaks("randomness: expected the same lifetime whatever the global generators hold")
class PythonsChance(Own):
    def reset(self, weights: Any = None, generator: Any = None) -> None:
        super().reset(weights or [torch.full((2, 3), random.random())])


@breaks("constants()['c']: expected what load_constants was given")
class CopiedConstants(Own):
    def constants(self) -> Any:
        return {"c": torch.zeros(2)}


@breaks("pickle: expected no exception, got")
class NoPickle(Own):
    def __init__(self) -> None:
        super().__init__()
        self.function = lambda: 3

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class Rows(Own):
    """A class that knows populations: weights (population, 2, 3)."""

    def __init__(self, population: int | None = None) -> None:
        sizes: dict[str, Any] = {"input_shape": (3,), "output_size": 2, "output_bounded": True, "weights_per_individual": 6}
        nchl.PlasticNetwork.__init__(self, Layout([("rates", (2, 3), ())]), **sizes, population=population)
        self.register_buffer("w", self.genome.new_zeros(*self.lead, 2, 3))
        self.reset()

    def draw_weights(self, generator: Any) -> Any:
        return [torch.rand(2, 3, generator=generator) - 0.5]

    def forward(self, x: Any) -> Any:
        self.x = self._observe(x)[0]
        self.y = torch.tanh((self.w * self.x.unsqueeze(-2)).sum(-1))
        return self.y.clone()

    def update(self, reward: Any = None) -> None:
        if self.x is None:
            raise self._order_error()
        self.w += self.layout.unpack(self.genome)["rates"] * self.y.unsqueeze(-1) * self.x.unsqueeze(-2)

    def populate(self, population: int | None, **keywords: Any) -> Any:
        return type(self)(population)


def test_a_class_that_knows_populations_keeps_the_contract() -> None:
    check_network(Rows())
    check_network(Rows(2))


@breaks("populate: expected population=3 and the same layout of 6 numbers, got population=None, 6 numbers")
class PopulatesNothing(Own):
    def populate(self, population: int | None, **keywords: Any) -> Any:
        return type(self)()


@breaks("populate: expected a PlasticNetwork, got NoneType")
class PopulatesNone(Own):
    def populate(self, population: int | None, **keywords: Any) -> Any:
        return None


@breaks("populate(3), row 0: expected what the single network gives")
class Different(Rows):
    def forward(self, x: Any) -> Any:
        return super().forward(x) / (1 if self.population is None else 2)


@breaks("populate: expected a row that does not depend on the others")
class Shared(Rows):
    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        return y if self.population is None else y + 1e-6 * y.mean(0)


@breaks("step(x, active): expected active rows as without the mask")
class Masked(Rows):
    def step(self, x: Any, active: Any = None, *, reward: Any = None) -> Any:
        y = self.forward(x)
        if self.plastic and active is None:
            self.update()
        return y


@breaks("step(x, active): expected finite outputs of rows that are not active")
class MaskedByNaN(Rows):
    def step(self, x: Any, active: Any = None, *, reward: Any = None) -> Any:
        y = super().step(x, active, reward=reward)
        if active is not None:
            y[~active] = torch.nan
        return y


@breaks("finite: expected [True, False, True] where row 1 has infinite weights, got [True, True, True]")
class AllFinite(Rows):
    def finite(self, rows: Any) -> Any:
        return torch.ones(len(rows), dtype=torch.bool)


@breaks("finite: expected True for 3 individuals")
class NoTensor(Rows):
    def finite(self, rows: Any) -> Any:
        return True


@breaks("populate: expected the constants of the template, got others")
class ForgetsConstants(Rows):
    def __init__(self, population: int | None = None) -> None:
        super().__init__(population)
        self.c = torch.full((2,), float(population or 0))

    def constants(self) -> Any:
        return {"c": self.c}


@pytest.mark.parametrize(("kind", "expected"), BROKEN)
def test_each_way_to_break_it_is_found_and_said(kind: type, expected: str) -> None:
    found = findings(kind())
    assert any(line.startswith(expected) for line in found), "\n".join(found)
    assert all("; " in line for line in found)
    with pytest.raises(ContractError, match="does not keep the contract"):
        check_network(kind())


def test_what_is_no_network_and_what_raises_is_said() -> None:
    assert findings(nn.Linear(3, 2)) == [
        "network: expected an instance of a subclass of nchl.PlasticNetwork, got Linear; write class Linear(nchl.PlasticNetwork)"
    ]
    assert "got the class Own itself" in findings(Own)[0]

    class Raises(Own):
        def forward(self, x: Any) -> Any:
            raise KeyError("where")

    found = findings(Raises())
    assert any("forward" not in line and "KeyError: 'where'" in line for line in found)


def test_a_run_refuses_a_broken_class_by_its_first_finding_and_trusts_the_package() -> None:
    with pytest.raises(ContractError, match=r"the network NotFinite cannot be evolved\. .* \(and \d+ more: nchl.testing"):
        hold(NotFinite())
    hold(Own())
    hold(nchl.NcHL([2, 2]))


def test_copies_are_the_network_alone_and_say_that_they_are_slow() -> None:
    net = Own()
    many = net.populate(4)
    assert isinstance(many, Copies)
    assert any("Own has no populate(population) of its own" in note and "slow" in note for note in many.notes)
    genomes = torch.randn(4, net.nparams, generator=torch.Generator().manual_seed(0))
    seen = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(1))
    many.set_hrules(genomes)
    many.reset(generator=torch.Generator().manual_seed(2))
    together = [many.step(x) for x in seen]
    for row in range(4):
        net.set_hrules(genomes[row])
        net.reset(generator=torch.Generator().manual_seed(2))
        for step, x in enumerate(seen):
            assert torch.equal(net.step(x[row]), together[step][row])
        assert torch.equal(net.weights[0], many.weights[0][row])
    assert torch.equal(many.step(seen[0], torch.tensor([True, False, True, False]))[[1, 3]], torch.zeros(2, 2))
    assert many.populate(None).population is None
    assert many.populate(2).population == 2
    weights = torch.arange(24.0).reshape(4, 2, 3)
    many.reset([weights])
    assert torch.equal(many.weights[0], weights)


def test_copies_refuse_what_they_cannot_do() -> None:
    with pytest.raises(InvalidArgument, match="expected a network of one individual"):
        nchl.PlasticNetwork.populate(Rows(2), 3)
    with pytest.raises(InvalidArgument, match="backend cannot be changed"):
        Own().populate(3, backend="compiled")
    many = Own().populate(2)
    with pytest.raises(ShapeError, match=r"weights of shape \(2, 3\) or \(2, 2, 3\), got \(3, 2\)"):
        many.reset([torch.zeros(3, 2)])
    with pytest.raises(ShapeError, match="expected 1 weight tensors, one per layer, got 2"):
        many.reset([torch.zeros(2, 3), torch.zeros(2, 3)])
    many.forward(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"reward: expected a number or shape \(2,\)"):
        many.update(torch.zeros(3))
