"""Back ends agree on which individuals are finite at the end of an episode, also if a weight overflows in the last update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nchl
from nchl import tasks
from nchl.networks.back_ends import fused
from nchl.networks.back_ends.program import ProgramStep
from nchl.rollout import rollout
from nchl.rules.kernels import program as kernels
from nchl.rules.kernels.build import compiler_path

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler")
NORMALISATIONS = [None, "max", "row", "zscore", "clip:1"]
SETTINGS: list[dict[str, Any]] = [{}, {"trace": 1.0, "every": 2, "average": "ema:0.5"}, {"average": "mean:2", "modulate": "reward"}]


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function that torch would compile, as it is: quick, and with the same arithmetic."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    monkeypatch.setattr(fused, "_functions", {})
    monkeypatch.setattr(fused, "missing_compiler", lambda device: None)


def fitness(kind: str, backend: str, steps: int, scale: float, **settings: Any) -> np.ndarray:
    """Of six individuals on CartPole, every other one with a genome that is `scale` times too large."""
    network = {"nchl": nchl.NcHL, "hl": nchl.HL}[kind]([4, 5, 2], population=6, backend=backend, **settings)
    genomes = np.random.default_rng(0).normal(size=(6, network.nparams)).astype(np.float32)
    genomes *= np.array([1, scale] * 3, np.float32)[:, None]
    found = rollout(network, tasks.make("CartPole-v1", max_episode_steps=steps), genomes, run_seed=0).fitness
    assert network.backend == backend
    return found


@needs_compiler
@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("kind", ["nchl", "hl"])
@pytest.mark.parametrize("normalise", [None, "max", "row"])
def test_a_weight_that_overflows_in_the_last_update_is_found(kind: str, normalise: str | None) -> None:
    pytest.importorskip("envpool")
    for backend in ("eager", "compiled"):
        found = fitness(kind, backend, 1, 1e20, normalise=normalise)
        np.testing.assert_array_equal(found, [1, np.nan] * 3)


@needs_compiler
@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", ["nchl", "hl"])
def test_all_back_ends_give_the_same_individuals_no_fitness(kind: str, settings: dict[str, Any], normalise: str | None) -> None:
    pytest.importorskip("envpool")
    for steps in (1, 3):
        for scale in (1e10, 1e30, 1e37):
            eager, compiled = (fitness(kind, backend, steps, scale, normalise=normalise, **settings) for backend in ("eager", "compiled"))
            np.testing.assert_array_equal(np.isnan(compiled), np.isnan(eager))
            assert not np.isnan(eager[::2]).any()


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize("sharing", ["max", "median", "mean"])
def test_convolutions_too(sharing: str, normalise: str | None) -> None:
    layers = [nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2, bias=False)]
    for scale in (1e10, 1e20, 1e37):
        found = []
        for backend in ("eager", "compiled"):
            net = nchl.from_module(nn.Sequential(*layers), (1, 3, 3), sharing, normalise=normalise, population=4, backend=backend)
            genomes = torch.randn(4, net.nparams, generator=torch.Generator().manual_seed(0))
            net.set_hrules(genomes * torch.tensor([1.0, scale, 1.0, scale])[:, None])
            net.reset(generator=torch.Generator().manual_seed(1))
            for t in range(3):
                net.step(torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(t)))
                found.append(net.finite(torch.arange(4)))
        half = len(found) // 2
        assert torch.equal(torch.stack(found[:half]), torch.stack(found[half:]))
        assert all(rows[::2].all() for rows in found)


@needs_compiler
@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_no_normalisation_makes_a_weight_finite_again(normalise: str | None, value: float, backend: str) -> None:
    net = nchl.NcHL([3, 4, 2], population=2, normalise=normalise, backend=backend)
    net.set_hrules(torch.ones(net.nparams))
    first = [torch.full((2, *w.shape[1:]), 0.1) for w in net.weights]
    first[0][0, 2, 1] = value
    net.reset(first)
    for _ in range(3):
        net.step(torch.ones(2, 3))
        assert net.finite(torch.arange(2)).tolist() == [False, True]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("average", [None, "ema:0.4", "mean:2"])
def test_a_recurrent_edge_sees_the_step_before_in_the_function_that_torch_compiles(average: str | None) -> None:
    lives = []
    for backend in ("eager", "compiled"):
        net = nchl.HL([4, 6, 3], recurrent=True, average=average, population=64, backend=backend, dtype=torch.float64)
        net.set_hrules(0.3 * torch.randn(net.nparams, generator=torch.Generator().manual_seed(0)))
        net.reset(generator=torch.Generator().manual_seed(1))
        outputs = [net.step(torch.randn(64, 4, generator=torch.Generator().manual_seed(t))) for t in range(5)]
        assert net.backend == backend
        lives.append([*outputs, *net.weights, *net.state.values()])  # asking for the weights does the update that waits
    for mine, expected in zip(*lives, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("uncompiled")
def test_a_rule_with_rewards_has_a_compiled_step() -> None:
    """The compiler sees rewards from the first step on, although nothing has been earned yet."""

    def rewarded(pre: torch.Tensor, post: torch.Tensor, reward: torch.Tensor, e_trace: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        e = 0.5 * e_trace + pre * post
        return 0.1 * reward * e, e

    lives = []
    for backend in ("eager", "compiled"):
        net = nchl.PlasticMLP([4, 6, 3], rewarded, modulate="advantage:0.1", population=64, backend=backend, dtype=torch.float64)
        net.reset(generator=torch.Generator().manual_seed(1))
        x = torch.randn(5, 64, 4, generator=torch.Generator().manual_seed(0))
        lives.append([net.step(row, reward=float(t) if t else None) for t, row in enumerate(x)])
        assert net.backend == backend, net.notes
    for mine, expected in zip(*lives, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
def test_programs_of_averages_are_written_once(monkeypatch):
    """They hold addresses, so that averages must stay where they are."""
    written = []
    write = ProgramStep._write
    monkeypatch.setattr(ProgramStep, "_write", lambda self, *given: written.append(1) or write(self, *given))
    sequential = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 2))
    network = nchl.from_module(sequential, (1, 6, 6), population=3, average="ema:0.5", backend="compiled")
    for t in range(6):
        network.step(torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(t)))
    assert len(written) == 2  # forward, and update


@pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here")
@pytest.mark.parametrize("pooling", [nn.MaxPool2d(2), nn.AvgPool2d(2)], ids=["max", "average"])
@pytest.mark.parametrize("first", [True, False])
def test_a_pooling_is_added_to_the_other_edges_of_its_group(pooling: nn.Module, first: bool) -> None:
    edges = [nchl.Edge("input", "sum", module=nn.Conv2d(2, 2, 2, stride=2)), nchl.Edge("input", "sum", module=pooling)]
    lives = []
    for backend in ("eager", "compiled"):
        groups = {"input": (2, 4, 4), "sum": (2, 2, 2), "output": 1}
        net = nchl.PlasticGraph(groups, [*(edges[::-1] if first else edges), ("sum", "output")], population=3, backend=backend)
        net.set_hrules(torch.randn(3, net.nparams, generator=torch.Generator().manual_seed(0)))
        x = torch.randn(4, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
        lives.append(torch.stack([net.step(row) for row in x]))
        assert net.backend == backend
    torch.testing.assert_close(*lives, rtol=1e-4, atol=1e-5)
