"""Lesions, shuffles and freezing of every kind of network, row by row of a batch, between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl import tasks
from nchl.errors import InvalidArgument
from nchl.genome import Layout
from nchl.perturbations import plan
from nchl.perturbations.surgery import Surgery, hidden_groups
from nchl.rollout import evaluate
from nchl.rollout.episode import never, watch
from nchl.rollout.scores import begin
from nchl.seeds import Purpose, environment_seed, weights_seed
from nchl.tasks.stages.open import open_stage

ROWS, STEPS, AT = 32, 12, 5


class Own(nchl.PlasticNetwork):
    """One layer, as a user writes it."""

    copies = False

    def __init__(self) -> None:
        sizes: dict[str, Any] = {"input_shape": (4,), "output_size": 2, "output_bounded": True, "weights_per_individual": 8}
        super().__init__(Layout([("rates", (2, 4), ())]), **sizes)
        self.register_buffer("w", self.genome.new_zeros(2, 4))
        self.reset()

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        return [torch.rand(2, 4, generator=generator) - 0.5]

    def reset(self, weights: Any = None, generator: Any = None) -> None:
        self.get_buffer("w").copy_((weights or self.draw_weights(generator or self._generator))[0])
        self.x: Tensor | None = None

    @property
    def weights(self) -> list[Tensor]:
        return [self.get_buffer("w").clone() if self.copies else self.get_buffer("w")]

    def forward(self, x: Any) -> Tensor:
        self.x = self._observe(x)[0]
        self.y = torch.tanh(self.get_buffer("w") @ self.x)
        return self.y.clone()

    def update(self, reward: Any = None) -> None:
        if self.x is None:
            raise self._order_error()
        self.get_buffer("w").add_(self.layout.unpack(self.genome)["rates"] * torch.outer(self.y, self.x))


class OwnOfCopies(Own):
    """Its weights cannot be reached."""

    copies = True


def _conv(rows: int) -> Any:
    layers = [nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(2, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False)]
    module = nn.Sequential(*layers)
    return nchl.from_module(module, (1, 2, 2), population=rows)


NETWORKS: dict[str, Callable[[int], Any]] = {
    "nchl": lambda rows: nchl.NcHL([4, 10, 6, 2], population=rows),
    "compiled": lambda rows: nchl.NcHL([4, 10, 6, 2], population=rows, backend="compiled"),
    "hl": lambda rows: nchl.HL([4, 6, 2], population=rows, normalise="max"),
    "reward": lambda rows: nchl.NcHL([4, 6, 2], population=rows, modulate="reward", recurrent=True, average="mean:3"),
    "coevolved": lambda rows: nchl.NcHL([4, 6, 2], population=rows, initial_weights="coevolved"),
    "static": lambda rows: nchl.StaticMLP([4, 10, 2], population=rows),
    "gru": lambda rows: nchl.StaticGRU([4, 8, 2], population=rows),
    "weightless": lambda rows: nchl.WNcHL([4, 10, 2], window=4, population=rows),
    "conv": _conv,
    "own": lambda rows: Own().populate(rows),
}


def lived(
    make: Callable[[int], Any], spec: Sequence[str] | str = (), *, freeze: list[int] | None = None, off_from: int | None = None
) -> tuple[Tensor, Any]:
    """Outputs (steps, rows, 2) of a population that sees the same, and the network afterwards."""
    net = make(ROWS)
    net.set_hrules(0.3 * torch.randn(ROWS, net.nparams, generator=torch.Generator().manual_seed(1)))
    net.reset(weights=net.draw_weights(torch.Generator().manual_seed(3)) or None)
    surgery = Surgery(net, plan(spec), range(ROWS), freeze)
    seen = torch.randn(STEPS, *net.input_shape, generator=torch.Generator().manual_seed(2))
    outputs, reward = [], None
    for step in range(STEPS):
        reward = surgery.before(step, reward)
        if off_from is not None and step >= off_from:
            net.plastic = False
        y = net.step(seen[step].expand(ROWS, *net.input_shape), reward=reward)
        reward = y.sum(-1) + 1 if net.needs_reward else None
        outputs.append(y.clone())
    return torch.stack(outputs), net


@pytest.mark.parametrize("name", NETWORKS)
def test_a_lesion_of_all_weights_silences_at_its_step_and_a_rule_may_grow_them_again(name: str) -> None:
    intact, net = lived(NETWORKS[name])
    hurt, _ = lived(NETWORKS[name], f"lesion:weights=1@{AT}")
    assert torch.equal(hurt[:AT], intact[:AT]), "nothing happens before the moment"
    biased = name == "gru"
    assert biased or not hurt[AT].any(), "without weights and biases there is no output"
    assert not torch.equal(hurt[AT], intact[AT])
    grown = hurt[AT + 2 :].abs().amax() > 0
    # The rule of `Own` is a product with the output, and there is none any more.
    assert grown == (biased or (net.plastic and name != "own"))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("gru", "static", "coevolved")])
def test_the_next_episode_is_intact(name: str) -> None:
    intact, _ = lived(NETWORKS[name])
    _, net = lived(NETWORKS[name], [f"lesion:weights=1@{AT}"])
    net.reset(weights=net.draw_weights(torch.Generator().manual_seed(3)) or None)
    seen = torch.randn(STEPS, *net.input_shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(net.step(seen[0].expand(ROWS, *net.input_shape)), intact[0])


@pytest.mark.parametrize("name", ["gru", "static", "coevolved"])
def test_weights_of_the_genome_are_back_in_the_next_episode(name: str) -> None:
    intact, _ = lived(NETWORKS[name])
    _, net = lived(NETWORKS[name], f"lesion:weights=1@{AT}")
    genome = net.genome.clone()
    net.reset()
    seen = torch.randn(STEPS, *net.input_shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(net.step(seen[0].expand(ROWS, *net.input_shape)), intact[0])
    assert torch.equal(net.genome, genome)


@pytest.mark.parametrize("spec", ["lesion:weights=0.3@3..7", f"lesion:neurons=0.5@{AT}", f"shuffle:weights@{AT}"])
def test_compiled_and_eager_agree(spec: str) -> None:
    eager, compiled = lived(NETWORKS["nchl"], spec)[0], lived(NETWORKS["compiled"], spec)[0]
    assert torch.allclose(eager, compiled, atol=1e-6)
    assert not torch.allclose(eager, lived(NETWORKS["nchl"])[0], atol=1e-3)


def test_a_share_is_exact_and_drawn_for_each_episode() -> None:
    net = nchl.StaticMLP([4, 10, 2], population=ROWS)
    net.set_hrules(torch.ones(net.nparams))
    net.reset()
    Surgery(net, plan("lesion:weights=0.25@0"), [7, 7, *range(ROWS - 2)]).before(0, None)
    lost = torch.cat([weight.flatten(1) == 0 for weight in net.weights], 1)
    assert lost.sum(1).tolist() == [15] * ROWS
    assert torch.equal(lost[0], lost[1])
    assert len({tuple(row) for row in lost.tolist()}) > ROWS - 4


@pytest.mark.parametrize("name", ["nchl", "hl", "reward", "weightless", "compiled", "own"])
@pytest.mark.parametrize("at", [2, AT])
@pytest.mark.parametrize(
    "spec", [(), *((text,) for text in ("lesion:weights=0.5@7", "lesion:weights=0.5@5", "lesion:neurons=0.5@5", "shuffle:weights@5"))]
)
def test_a_row_that_is_frozen_is_one_whose_plasticity_is_off(name: str, at: int, spec: tuple[str, ...]) -> None:
    if name == "own" and "neurons" in "".join(spec):
        pytest.skip("its neurons are not known one by one")
    by_rows, _ = lived(NETWORKS[name], spec, freeze=[at] * ROWS)
    whole, _ = lived(NETWORKS[name], spec, off_from=at)
    assert torch.allclose(by_rows, whole, atol=1e-7)
    assert not torch.equal(by_rows, lived(NETWORKS[name], spec)[0])


@pytest.mark.parametrize("what", ["lesion:weights=1", "lesion:weights=0.5", "lesion:neurons=0.5", "shuffle:weights"])
@pytest.mark.parametrize("name", ["nchl", "reward", "weightless"])
def test_an_episode_frozen_at_its_lesion_does_not_depend_on_the_moments_of_others(name: str, what: str) -> None:
    """Equal moments switch plasticity off in the whole batch, others freeze row by row; a film watches one episode alone."""
    make: dict[str, Callable[[int], Any]] = {
        "nchl": lambda rows: nchl.NcHL([3, 6, 1], population=rows),
        "reward": lambda rows: nchl.NcHL([3, 6, 1], population=rows, modulate="reward"),
        "weightless": lambda rows: nchl.WNcHL([3, 6, 1], window=4, population=rows),
    }
    task = tasks.make("Pendulum-v1", "gymnasium", max_episode_steps=12, perturb=[f"{what}@{AT}"])
    genome = 0.3 * np.random.default_rng(1).standard_normal(make[name](1).nparams)
    how: dict[str, Any] = {"run_seed": 5, "episodes": 4}
    alike = evaluate(make[name](4), task, genome, freeze_after=AT, **how).returns
    mixed = evaluate(make[name](4), task, genome, freeze_after=[AT, AT, AT, AT + 1], **how).returns
    np.testing.assert_allclose(alike[0, :3], mixed[0, :3], rtol=1e-6)
    assert alike[0, 3] != mixed[0, 3]
    seed = environment_seed(5, Purpose.EVALUATION, 0, 0)
    stage = open_stage("Pendulum-v1", "gymnasium", seed, max_episode_steps=12, draw=False, perturb=[f"{what}@{AT}"])
    alone = make[name](1)
    alone.set_hrules(genome)
    begin(alone, [weights_seed(5, Purpose.EVALUATION, 0, 0)])
    assert [moment.total for moment in watch(alone, stage, draw=never, freeze_after=AT)][-1] == pytest.approx(alike[0, 0], rel=1e-6)
    stage.close()
    task.close()


def test_rows_freeze_at_steps_of_their_own() -> None:
    moments = [3 + row % 4 for row in range(ROWS)]
    mixed, _ = lived(NETWORKS["nchl"], freeze=moments)
    for at in range(3, 7):
        alone, _ = lived(NETWORKS["nchl"], off_from=at)
        rows = [row for row in range(ROWS) if moments[row] == at]
        assert torch.allclose(mixed[:, rows], alone[:, rows], atol=1e-7)


def test_silent_neurons_stay_silent() -> None:
    _, net = lived(NETWORKS["nchl"], "lesion:neurons=0.5@3")
    silent = [(activation == 0).sum(1) for activation in net.activations[1:-1]]
    assert torch.stack(silent).sum(0).tolist() == [8] * ROWS
    _, net = lived(NETWORKS["weightless"], "lesion:neurons=0.5@3")
    assert (net.get_buffer("activations_1") == 0).sum((1, 2)).tolist() == [5] * ROWS


def test_feature_maps_are_no_single_neurons() -> None:
    assert [group.size for group in hidden_groups(_conv(2))] == [3]
    assert [group.size for group in hidden_groups(nchl.StaticGRU([4, 8, 2]))] == [8]


def test_a_shuffle_permutes_what_evolution_holds_and_draws_the_rest() -> None:
    net = nchl.StaticMLP([4, 10, 2], population=2)
    net.set_hrules(torch.arange(float(net.nparams)))
    net.reset()
    before = [weight.clone() for weight in net.weights]
    Surgery(net, plan("shuffle:weights@0"), [1, 2]).before(0, None)
    for old, new in zip(before, net.weights, strict=True):
        assert not torch.equal(old, new)
        assert torch.equal(old.flatten(1).sort().values, new.flatten(1).sort().values)
    plastic = nchl.NcHL([4, 10, 2], population=2)
    Surgery(plastic, plan("shuffle:weights@0"), [1, 1]).before(0, None)
    assert all(torch.equal(weight[0], weight[1]) and weight.abs().max() <= 0.1 for weight in plastic.weights)


def test_where_actions_are_repeated_it_comes_with_the_next_action() -> None:
    net = nchl.StaticMLP([4, 2], population=1)
    net.set_hrules(torch.ones(net.nparams))
    net.reset()
    surgery = Surgery(net, plan("lesion:weights=1@5"), [0], every=4)
    for step, left in ((0, 8), (4, 8), (8, 0)):
        surgery.before(step, None)
        assert int(net.weights[0].count_nonzero()) == left


@pytest.mark.parametrize(
    ("network", "spec", "said"),
    [
        (Own().populate(2), "lesion:neurons=0.5@1", "no hidden neurons"),
        (OwnOfCopies().populate(2), "lesion:weights=1@1", "its `weights` are copies"),
        (nchl.NcHL([4, 2], population=2), "lesion:neurons=0.5@1", "no hidden neurons"),
    ],
)
def test_what_a_network_cannot_have_is_refused(network: Any, spec: str, said: str) -> None:
    network.reset()
    with pytest.raises(InvalidArgument, match=said):
        Surgery(network, plan(spec), [0, 1]).before(1, None)


def test_one_individual_without_the_axis() -> None:
    net = nchl.NcHL([4, 6, 2])
    net.set_hrules(np.full(net.nparams, 0.1))
    surgery = Surgery(net, plan("lesion:weights=1@1 & lesion:neurons=0.5@1"), [3])
    net.step(torch.ones(4))
    surgery.before(1, None)
    assert not any(weight.any() for weight in net.weights)
