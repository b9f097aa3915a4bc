"""Networks, tasks and strategies given to a run as objects."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

import nchl
from nchl.cli import main
from nchl.errors import ContractError, InvalidArgument, RunError, ShapeError
from nchl.genome import Layout
from nchl.strategies import Strategy
from nchl.strategies.population import MatrixPopulation

SMALL: dict[str, Any] = {"population": 8, "generations": 2, "max_episode_steps": 20, "simulator": "gymnasium"}


class Own(nchl.PlasticNetwork):
    """A class of the user's that knows one individual alone."""

    def __init__(self, hidden: int = 1) -> None:
        sizes: dict[str, Any] = {"input_shape": (4,), "output_size": 2, "output_bounded": True, "weights_per_individual": 8}
        super().__init__(Layout([("rates", (2, 4), ()), ("gain", (hidden,), ())]), **sizes)
        self.register_buffer("w", self.genome.new_zeros(2, 4))
        self.reset()

    def draw_weights(self, generator: Any) -> list[torch.Tensor]:
        return [torch.rand(2, 4, generator=generator) - 0.5]

    def reset(self, weights: Any = None, generator: Any = None) -> None:
        self.w.copy_((weights or self.draw_weights(generator or self._generator))[0])
        self.x: torch.Tensor | None = None

    @property
    def weights(self) -> list[torch.Tensor]:
        return [self.w]

    def forward(self, x: Any) -> torch.Tensor:
        self.x = self._observe(x)[0]
        self.y = torch.tanh(self.w @ self.x)
        return self.y.clone()

    def update(self, reward: Any = None) -> None:
        if self.x is None:
            raise self._order_error()
        self.w += self.layout.unpack(self.genome)["rates"] * torch.outer(self.y, self.x)


class Broken(Own):
    def forward(self, x: Any) -> torch.Tensor:
        return super().forward(x) * torch.inf


def graph(**keywords: Any) -> nchl.PlasticGraph:
    torch.manual_seed(3)
    groups = {"in": 4, "hidden": nchl.Group(5, activation=nn.GELU()), "out": 2}
    edges = [("in", "hidden"), nchl.Edge("in", "out", module=nn.Linear(4, 2)), ("hidden", "hidden", 1), ("hidden", "out")]
    return nchl.PlasticGraph(groups, edges, **keywords)


def tensors(folder: Path, name: str = "centre") -> dict[str, np.ndarray]:
    return load_file(folder / f"{name}.safetensors")


def test_a_preset_as_an_object_is_the_run_of_its_name(tmp_path: Path) -> None:
    named = nchl.run("CartPole-v1", network="nchl", hidden=[5], out=tmp_path / "named", **SMALL)
    given = nchl.run("CartPole-v1", network=nchl.NcHL([4, 5, 2]), out=tmp_path / "given", **SMALL)
    assert np.array_equal(tensors(named.folder)["genome"], tensors(given.folder)["genome"])
    record = json.loads((given.folder / "config.json").read_text())
    assert record["settings"]["network"] == "object:NcHL"
    assert record["settings"]["hidden"] is record["settings"]["rule"] is record["settings"]["backend"] is None
    about = record["objects"]["network"]
    assert (about["class"], about["nparams"], about["files"]) == ("nchl.networks.mlp.NcHL", 5 * 11 - 6, {})
    assert nchl.evaluate(given.folder, episodes=3)["returns"] == nchl.evaluate(named.folder, episodes=3)["returns"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: graph(normalise="row", average="ema:0.4", trace=0.5, dtype=torch.float64),
        lambda: graph(rule="hl", modulate="reward", normalise="max", biases="evolve", initial_weights="coevolved"),
        lambda: nchl.WNcHL([4, 3, 2], window=3),
        lambda: nchl.StaticMLP([4, 3, 2], recurrent=True),
    ],
    ids=["time", "hl", "wnchl", "elman"],
)
def test_a_graph_is_resumed_and_evaluated_from_the_folder_alone(make: Any, tmp_path: Path) -> None:
    whole = nchl.run("CartPole-v1", network=make(), out=tmp_path / "whole", **SMALL | {"generations": 3})
    part = nchl.run("CartPole-v1", network=make(), out=tmp_path / "part", **SMALL)
    nchl.resume(part.folder, generations=3)
    first, second = tensors(whole.folder), tensors(part.folder)
    assert set(first) == set(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    agent, _ = nchl.load(part.folder)
    template = make()
    assert (agent.layout, agent.dtype) == (template.layout, template.dtype)
    assert all(torch.equal(tensor, template.constants()[name]) for name, tensor in agent.constants().items())
    assert len(agent.constants()) == len(template.constants())
    assert nchl.evaluate(part.folder, episodes=3)["episodes"] == 3


@pytest.mark.slow
def test_the_command_line_goes_on_with_a_graph_and_says_where_an_object_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = nchl.run("CartPole-v1", network=graph(), out=tmp_path / "graph", **SMALL)
    words = [sys.executable, "-m", "nchl", "resume", str(told.folder), "--generations", "3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # a process that has never seen the object
    assert done.returncode == 0, done.stderr
    for words in (["evaluate", "--episodes", "2"], ["describe"]):
        assert main([words[0], str(told.folder), *words[1:]]) == 0
    own = nchl.run("CartPole-v1", network=Own(), out=tmp_path / "own", **SMALL)
    capsys.readouterr()
    for verb, call in (("resume", "nchl.resume"), ("evaluate", "nchl.evaluate")):
        assert main([verb, str(own.folder)]) == 2
        assert f"give it again, in Python: {call}('{own.folder}', network=NET)" in capsys.readouterr().err
    assert main(["evolve", "CartPole-v1", "--network", "object:Own"]) == 2
    assert "name its place: --network FILE.py:NAME" in capsys.readouterr().err


def test_a_class_of_the_users_evolves_and_goes_on_where_it_is_given_again(tmp_path: Path) -> None:
    notes: list[str] = []
    whole = nchl.run("CartPole-v1", network=Own(), out=tmp_path / "whole", **SMALL | {"generations": 3})
    part = nchl.run("CartPole-v1", network=Own(), out=tmp_path / "part", on_note=notes.append, **SMALL)
    assert any("Own has no populate" in note for note in notes)
    about = json.loads((part.folder / "config.json").read_text())["objects"]["network"]
    assert about["class"].endswith(".Own")
    assert about["written"] is None
    assert list(about["files"]) == [str(Path(__file__).resolve())]
    assert all(len(digest) == 64 for digest in about["files"].values())
    for call in (nchl.resume, nchl.load, nchl.evaluate):
        with pytest.raises(RunError, match=r"is a Python object .*Own\) that .*network=NET"):
            call(part.folder)
        with pytest.raises(RunError, match=r"is not the one of .*: expected .*Own of 9 numbers .*, got .*Own of 10"):
            call(part.folder, network=Own(2))
        with pytest.raises(RunError, match=r"is not the one of .*got nchl.networks.mlp.NcHL"):
            call(part.folder, network=nchl.NcHL([4, 2]))
    nchl.resume(part.folder, generations=3, network=Own())
    assert np.array_equal(tensors(whole.folder)["genome"], tensors(part.folder)["genome"])
    agent, _ = nchl.load(part.folder, network=Own())
    assert agent.act(np.zeros(4, dtype=np.float32)) in (0, 1)
    assert nchl.evaluate(part.folder, network=Own(), episodes=4)["episodes"] == 4


def mine(pre: torch.Tensor, post: torch.Tensor, eta_post: torch.Tensor) -> torch.Tensor:
    return eta_post * pre * post


def other(pre: torch.Tensor, post: torch.Tensor, eta_post: torch.Tensor) -> torch.Tensor:
    return -eta_post * pre * post


@pytest.mark.parametrize("call", [nchl.load, functools.partial(nchl.evaluate, episodes=2)])
def test_a_network_with_another_rule_or_other_settings_is_not_the_runs(call: Any, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", network=nchl.PlasticMLP([4, 2], mine, trace=0.5), out=tmp_path / "run", **SMALL).folder
    with pytest.raises(RunError, match=r"expected the rules \['mine'\], got \['other'\]"):
        call(run, network=nchl.PlasticMLP([4, 2], other, trace=0.5))
    with pytest.raises(RunError, match=r"expected the settings .*'trace': 0.5.*, got .*'normalise': 'max'"):
        call(run, network=nchl.PlasticMLP([4, 2], mine, normalise="max"))
    call(run, network=nchl.PlasticMLP([4, 2], mine, trace=0.5))
    config = run / "config.json"  # of an earlier build
    record = json.loads(config.read_text())
    del record["objects"]["network"]["rules"], record["objects"]["network"]["settings"]
    config.write_text(json.dumps(record))
    call(run, network=nchl.PlasticMLP([4, 2], mine, trace=0.5))


def test_a_search_without_a_folder_takes_objects() -> None:
    search = nchl.evolution("CartPole-v1", network=Own(), **SMALL)
    assert [generation.generation for generation in search] == [1, 2]
    search = nchl.evolution("CartPole-v1", network=graph(modulate="reward"), **SMALL)
    assert all(np.isfinite(generation.fitness).all() for generation in search)


def test_a_sequential_takes_the_options_of_the_run_and_keeps_its_biases(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 3), nn.SiLU(), nn.Linear(3, 2), nn.Tanh())
    done = nchl.run("CartPole-v1", network=module, rule="hl", normalise="none", out=tmp_path / "run", **SMALL)
    record = json.loads((done.folder / "config.json").read_text())
    assert (record["settings"]["network"], record["settings"]["rule"]) == ("module:Sequential", "hl")
    agent, _ = nchl.load(done.folder)
    assert agent.nparams == 5 * 18
    assert agent.normalise is None
    assert torch.equal(agent.constants()["0.bias"], module[0].bias)
    nchl.resume(done.folder, generations=3)
    with pytest.raises(InvalidArgument, match="sharing: this network has no plastic convolution"):
        nchl.run("CartPole-v1", network=module, sharing="min", out=tmp_path / "no", **SMALL)
    with pytest.raises(InvalidArgument, match="the task wants 2 outputs, the network gives 1"):
        nchl.run("CartPole-v1", network=nn.Sequential(nn.Linear(4, 1)), out=tmp_path / "no", **SMALL)
    assert not (tmp_path / "no").exists()


def test_a_sequential_with_a_rule_of_the_users_is_given_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def rule(pre, post, eta_post):\n    return eta_post * pre * post\n")

    def module() -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))

    done = nchl.run("CartPole-v1", network=module(), rule=f"{file}:rule", out=tmp_path / "run", **SMALL)
    with pytest.raises(RunError, match="network=NET"):
        nchl.evaluate(done.folder)
    with pytest.raises(RunError, match="is not the one of"):
        nchl.evaluate(done.folder, network=nn.Sequential(nn.Linear(4, 2)))
    file.unlink()  # the run has its own copy
    assert nchl.evaluate(done.folder, network=module(), episodes=2)["episodes"] == 2
    nchl.resume(done.folder, generations=3, network=module())


@pytest.mark.parametrize(("network", "options", "message"), [
    (lambda: nchl.NcHL([4, 2]), {"rule": "hl"}, r"rule does not apply to a network given as an object: .* is made, NcHL\(...\)"),
    (lambda: nchl.NcHL([4, 2]), {"hidden": [3]}, "hidden does not apply to a network given as an object"),
    (lambda: nchl.NcHL([4, 2], population=8), {}, r"expected a network of one individual.*population=8"),
    (lambda: nchl.NcHL([3, 2]), {}, r"observations of shape \(4,\), the network takes \(3,\)"),
    (lambda: nchl.NcHL([4, 3]), {}, "the task wants 2 outputs, the network gives 3"),
    (lambda: nchl.NcHL, {}, "got NcHL; call it, and give what it returns"),
    (lambda: (lambda: nchl.NcHL([4, 2])), {}, "got function; call it, and give what it returns"),
    (lambda: nn.Linear(4, 2), {}, r"expected an nn.Sequential .* got Linear; put its layers into an nn.Sequential"),
    (lambda: 3, {}, "got int; or a name"),
    (Own, {"workers": 2}, r"--workers 2: this network has code of your own.*network='FILE.py:NAME'"),
])  # fmt: skip
def test_objects_that_cannot_be_evolved_are_refused(network: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=message):
        nchl.run("CartPole-v1", network=network(), out=tmp_path / "run", **SMALL | options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("call", [nchl.run, nchl.evolution])
def test_a_function_as_rule_is_told_to_be_part_of_a_network(call: Any) -> None:
    def mine(pre: Any, post: Any, a_post: Any) -> Any:
        return a_post * pre * post

    with pytest.raises(InvalidArgument, match=r"FILE.py:NAME'; or .* network=nchl.PlasticMLP\(\[4, 10, 2\], rule=mine\)"):
        call("CartPole-v1", rule=mine)


@pytest.mark.parametrize("call", [nchl.run, nchl.evolution, nchl.EvolveConfig.create])
def test_a_seed_of_none_is_no_random_seed(call: Any) -> None:
    with pytest.raises(InvalidArgument, match="seed must be a whole number, got None; equal seeds give equal runs"):
        call("CartPole-v1", seed=None, generations=1, population=4)
    with pytest.raises(InvalidArgument, match="seed must be a whole number, got None"):
        nchl.run(nchl.EvolveConfig("CartPole-v1", generations=1, population=4), seed=None)
    with pytest.raises(InvalidArgument, match="seed must be a whole number, got None"):
        nchl.EvolveConfig("CartPole-v1", seed=3).replace(seed=None)


class Robot:
    """An environment of the user's, as an object."""

    spec = None

    def reset(self, *, seed: Any = None, options: Any = None) -> Any: ...
    def step(self, action: Any) -> Any: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("call", [nchl.run, nchl.evolution, nchl.tasks.make])
def test_an_environment_in_place_of_its_name_is_told_to_be_registered(call: Any) -> None:
    write = r"in test_objects.py write gymnasium.register\('Robot-v0', entry_point=Robot\), then nchl.run\('[\w.]*test_objects:Robot-v0'\)"
    for given in (Robot(), Robot):
        with pytest.raises(
            InvalidArgument, match=rf"expected a task's name, got an environment \(Robot\). A run makes one copy .*: {write}"
        ):
            call(given)
    with pytest.raises(InvalidArgument, match="so it needs the name: write 'CartPole-v1'"):
        call(gymnasium.make("CartPole-v1"))
    for given in (3, nchl.NcHL([4, 2])):
        with pytest.raises(
            InvalidArgument,
            match=rf"expected a task's name, for example 'CartPole-v1', got {type(given).__name__}; register an environment",
        ):
            call(given)


def test_a_class_that_breaks_the_contract_is_refused_before_evolution(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"Broken cannot be evolved. forward: expected finite outputs"):
        nchl.run("CartPole-v1", network=Broken(), out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_graph_travels_to_workers(tmp_path: Path) -> None:
    here = nchl.run("CartPole-v1", network=graph(trace=0.5), out=tmp_path / "here", **SMALL)
    there = nchl.run("CartPole-v1", network=graph(trace=0.5), workers=2, out=tmp_path / "there", **SMALL)
    assert np.array_equal(tensors(here.folder)["genome"], tensors(there.folder)["genome"])


OWN_FILE = """
import torch, nchl
from torch import nn
from nchl.genome import Layout

def graph(shape, n):
    return nchl.PlasticGraph({"in": shape[0], "out": n}, [("in", "out"), ("out", "out", 1)], average="mean:3")

net = nchl.NcHL([4, 3, 2])
sequential = nn.Sequential(nn.Linear(4, 2), nn.Tanh())

def other(shape, n):
    return nn.Linear(shape[0], n)

class Own(nchl.PlasticNetwork):
    bad = 1.0
    def __init__(self, shape, n):
        super().__init__(Layout([("bias", (n,), ())]), input_shape=shape, output_size=n, output_bounded=False, weights_per_individual=0)
        self.reset()
    def draw_weights(self, generator): return []
    def reset(self, weights=None, generator=None): self.seen = False
    weights = property(lambda self: [])
    def forward(self, x):
        self.seen = True
        return self.bad * (self._observe(x)[0][:2] + self.genome)
    def update(self, reward=None):
        if not self.seen:
            raise self._order_error()

class Bad(Own):
    bad = float("nan")
"""


def test_a_file_gives_each_kind_of_network(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN_FILE)
    for name, nparams in (("graph", 4 * 4 + 2 * 5), ("net", 5 * 9 - 6), ("sequential", 24), ("Own", 2)):
        done = nchl.run("CartPole-v1", network=f"{file}:{name}", out=tmp_path / name, **SMALL)
        assert tensors(done.folder)["genome"].shape == (nparams,)
        nchl.resume(done.folder, generations=3)
        assert nchl.load(done.folder)[0].nparams == nparams
    with pytest.raises(InvalidArgument, match=r"rule: .*mine.py:graph is a finished network \(PlasticGraph\).*set it where it is made"):
        nchl.run("CartPole-v1", network=f"{file}:graph", rule="hl", out=tmp_path / "no", **SMALL)
    with pytest.raises(InvalidArgument, match=r"mine.py:other: .* nchl.PlasticNetwork .*, got Linear; put its layers into an nn.Seq"):
        nchl.run("CartPole-v1", network=f"{file}:other", out=tmp_path / "no", **SMALL)
    with pytest.raises(ContractError, match="Bad cannot be evolved"):
        nchl.run("CartPole-v1", network=f"{file}:Bad", out=tmp_path / "no", **SMALL)


class Climb(Strategy):
    """A strategy of the user's."""

    name = "climb"

    @property
    def settings(self) -> dict[str, Any]:
        return {"sigma": self.sigma}

    def _ask(self) -> MatrixPopulation:
        noise = np.random.default_rng([self.seed, self.generation]).standard_normal((self.population, self.size))
        return MatrixPopulation(self.centre + self.sigma * noise)

    def _tell(self, population: Any, scores: np.ndarray) -> None:
        self.centre = np.asarray(population.rows(int(np.argmax(scores)), int(np.argmax(scores)) + 1)[0], dtype=np.float64)


REST = {"generations": 2, "max_episode_steps": 20, "simulator": "gymnasium"}


def test_a_strategy_as_an_object_is_the_run_of_its_name(tmp_path: Path) -> None:
    strategy = nchl.strategies.make("elite", 74, 8, 5, sigma=0.3, mu=2)
    given = nchl.run("CartPole-v1", strategy=strategy, hidden=[10], out=tmp_path / "given", **REST)
    named = nchl.run("CartPole-v1", strategy="elite", population=8, seed=5, sigma=0.3, mu=2, hidden=[10], out=tmp_path / "named", **REST)
    assert np.array_equal(tensors(given.folder)["genome"], tensors(named.folder)["genome"])
    first, second = (json.loads((run.folder / "config.json").read_text()) for run in (given, named))
    assert first["settings"] == second["settings"]
    assert strategy.generation == 2
    assert nchl.resume(given.folder, generations=3).generations == 3


def test_a_strategy_of_the_users_class_evolves_and_goes_on(tmp_path: Path) -> None:
    def make() -> Climb:
        return Climb(74, 8, 5, centre=np.full(74, 0.1), sigma=0.2)

    whole = nchl.run("CartPole-v1", strategy=make(), hidden=[10], out=tmp_path / "whole", **REST | {"generations": 3})
    part = nchl.run("CartPole-v1", strategy=make(), hidden=[10], out=tmp_path / "part", **REST)
    with pytest.raises(RunError, match=r"the strategy of .*Climb.*nchl.resume\(.*strategy=STRATEGY\)"):
        nchl.resume(part.folder, generations=3)
    nchl.resume(part.folder, generations=3, strategy=make())
    assert np.array_equal(tensors(whole.folder)["genome"], tensors(part.folder)["genome"])
    assert nchl.evaluate(part.folder, episodes=2)["episodes"] == 2
    assert json.loads((part.folder / "config.json").read_text())["settings"]["strategy"] == "object:Climb"


def test_strategies_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    make = nchl.strategies.make
    with pytest.raises(ShapeError, match="expected one of vectors of 74 numbers, the network's genome, got 73"):
        nchl.run("CartPole-v1", strategy=make("elite", 73, 8, 0), hidden=[10], out=out, **REST)
    with pytest.raises(InvalidArgument, match="population: the strategy was given as an object, which has another value"):
        nchl.run("CartPole-v1", strategy=make("elite", 74, 8, 0), population=10, hidden=[10], out=out, **REST)
    with pytest.raises(InvalidArgument, match=r"expected a name or a nchl.strategies.base.Strategy, got Climb"):
        nchl.run("CartPole-v1", strategy=Climb, hidden=[10], out=out, **REST)
    used = make("elite", 74, 8, 0)
    used.ask()
    used.tell(np.arange(8.0))
    with pytest.raises(InvalidArgument, match="before its first generation, got one after 1"):
        nchl.run("CartPole-v1", strategy=used, hidden=[10], out=out, **REST)
    with pytest.raises(InvalidArgument, match="sigma does not apply to a strategy given as an object"):
        nchl.run("CartPole-v1", strategy=Climb(74, 8, 5, centre="normal", sigma=0.2), sigma=0.3, hidden=[10], out=out, **REST)
    assert not out.exists()


def test_a_task_made_by_name_is_that_name_and_stays_open(tmp_path: Path) -> None:
    task = nchl.tasks.make("CartPole-v1", "gymnasium", max_episode_steps=20)
    options = {"hidden": [4], "population": 8, "generations": 1}
    given = nchl.run(task=task, out=tmp_path / "given", **options)
    named = nchl.run("CartPole-v1", simulator="gymnasium", max_episode_steps=20, out=tmp_path / "named", **options)
    first, second = (json.loads((run.folder / "config.json").read_text()) for run in (given, named))
    assert first["settings"] == second["settings"]
    assert np.array_equal(tensors(given.folder)["genome"], tensors(named.folder)["genome"])
    nchl.resume(given.folder, generations=2)
    with pytest.raises(InvalidArgument, match="max_episode_steps: the task was given as an object"):
        nchl.run(task, max_episode_steps=10, out=tmp_path / "no", **options)
    task.close()


def test_a_task_put_together_by_hand_is_played_as_it_is_and_given_again(tmp_path: Path) -> None:
    from nchl.tasks import EarlyStop

    plain = nchl.tasks.make("Pendulum-v1", "gymnasium", max_episode_steps=30)
    task = dataclasses.replace(plain, early_stop=EarlyStop(in_a_row=3))
    assert (plain.said is None, task.said) == (False, None)
    options: dict[str, Any] = {"hidden": [4], "population": 4, "generations": 1}
    done = nchl.run(task, out=tmp_path / "run", **options)
    assert np.isclose(json.loads((done.folder / "summary.json").read_text())["env_steps"] / 4, 4)  # stopped by the fourth negative reward
    with pytest.raises(RunError, match=r"the task of .* task=TASK"):
        nchl.resume(done.folder, generations=2)
    nchl.resume(done.folder, generations=2, task=task)
    assert nchl.evaluate(done.folder, task=task, episodes=2)["length"] == 4
    with pytest.raises(InvalidArgument, match=r"--workers 2: this task has code of your own"):
        nchl.run(task, workers=2, out=tmp_path / "no", **options)
    with pytest.raises(InvalidArgument, match="got function; register an environment of your own"):
        nchl.run(lambda: None, out=tmp_path / "no", **options)
    task.close()


def test_an_altered_record_of_an_object_is_refused(tmp_path: Path) -> None:
    done = nchl.run("CartPole-v1", network=graph(), out=tmp_path / "run", **SMALL)
    path = done.folder / "config.json"
    whole = json.loads(path.read_text())
    held = whole["objects"]["network"]
    for spoilt in (3, held | {"written": [1]}, held | {"written": held["written"] | {"dtype": "x"}}, held | {"written": {"kind": "graph"}}):
        path.write_text(json.dumps(whole | {"objects": {"network": spoilt}}))
        with pytest.raises((RunError, InvalidArgument), match="altered"):
            nchl.evaluate(done.folder, episodes=2)
    path.write_text(json.dumps(whole | {"objects": {"cluster": {}}}))
    with pytest.raises(RunError, match="'cluster' of the objects is not in the form that nchl writes"):
        nchl.load(done.folder)
    (tmp_path / "evil.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'witness')!r}).mkdir()\nnet = print\n")
    for name in (f"object:{tmp_path}/evil.py:net", f"module:{tmp_path}/evil.py:net"):
        path.write_text(json.dumps(whole | {"objects": None, "settings": whole["settings"] | {"network": name}}))
        with pytest.raises((RunError, InvalidArgument)):
            nchl.evaluate(done.folder, episodes=2)
    assert not (tmp_path / "witness").exists()
