"""The constants of a user's network (biases, BatchNorm statistics) belong to a run: drawn under its seed, saved with it, given back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nchl
from nchl.errors import CheckpointError, InvalidArgument, ShapeError, UnknownName
from nchl.networks.build import NetworkSpec, build
from nchl.runs.files.tensors import read_tensors, write_tensors
from nchl.runs.store.results import NOT_RECORDED
from nchl.seeded import seeded

MINE = """
import random
import numpy as np
import torch
from torch import nn

SCALE = torch.rand(1)  # drawn when the file is loaded


def biased(shape, outputs):
    hidden = nn.Linear(shape[0], 3)
    with torch.no_grad():
        hidden.bias += SCALE + random.random() + np.random.rand()
    return nn.Sequential(hidden, nn.Tanh(), nn.Linear(3, outputs))


def oja(pre, post, weight, eta_post):
    return eta_post * post * (pre - post * weight)
"""
SETTINGS: dict[str, Any] = {"population": 8, "generations": 2, "seed": 3}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def rows(folder: Path) -> list[str]:
    """The columns of metrics.csv that do not depend on the machine."""
    lines = (folder / "metrics.csv").read_text().splitlines()
    kept = [k for k, name in enumerate(lines[0].split(",")) if not name.endswith(("_s", "seconds", "_mb"))]
    return [",".join(line.split(",")[k] for k in kept) for line in lines]


def elsewhere(code: str, *words: Path | str) -> str:
    """The output of a program in another process."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_same_seed_same_bits_wherever_the_network_is_made(mine: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "network": f"{mine}:biased", "rule": f"{mine}:oja"}
    torch.manual_seed(99)  # the state of the process is no part of the run
    here = nchl.run("CartPole-v1", out=tmp_path / "here", **settings).folder
    workers = nchl.run("CartPole-v1", out=tmp_path / "workers", workers=2, **settings).folder
    nchl.run("CartPole-v1", out=tmp_path / "resumed", **{**settings, "generations": 1})
    played = elsewhere(
        f"import json, sys, nchl; nchl.run('CartPole-v1', out=sys.argv[1], **{settings!r}); nchl.resume(sys.argv[2], generations=2); "
        "print(json.dumps(nchl.evaluate(sys.argv[3], episodes=4)['returns']))",
        *(tmp_path / "there", tmp_path / "resumed", here),
    )
    for other in (tmp_path / "there", workers, tmp_path / "resumed"):
        assert (other / "centre.safetensors").read_bytes() == (here / "centre.safetensors").read_bytes(), other
        assert (other / "best.safetensors").read_bytes() == (here / "best.safetensors").read_bytes(), other
        assert rows(other) == rows(here), other
    assert json.loads(played) == nchl.evaluate(here, episodes=4)["returns"] == nchl.evaluate(workers, episodes=4)["returns"]
    other = nchl.run("CartPole-v1", out=tmp_path / "other", **{**settings, "seed": 4}).folder
    a, b = (read_tensors(folder / "best.safetensors")[0]["constant.0.bias"] for folder in (here, other))
    assert not np.array_equal(a, b)


def test_the_saved_constants_are_the_ones_that_play(mine: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", network=f"{mine}:biased", **SETTINGS).folder
    best, about = read_tensors(run / "best.safetensors")
    before = nchl.evaluate(run, episodes=4)["returns"]
    # Another torch draws other numbers; the saved ones count.
    changed = {**best, "constant.0.bias": best["constant.0.bias"] + 5, "constant.2.bias": np.array([0, 9], dtype=np.float32)}
    write_tensors(run / "best.safetensors", changed, about)
    net, _ = nchl.load(run)
    assert torch.equal(net.constants()["0.bias"], torch.from_numpy(changed["constant.0.bias"]))
    result = nchl.evaluate(run, episodes=4)
    assert result["returns"] != before
    assert result["notes"] == []
    write_tensors(run / "best.safetensors", {k: v for k, v in changed.items() if k != "constant.2.bias"}, about)
    with pytest.raises(InvalidArgument, match=r"constants are 0\.bias, 2\.bias, got 0\.bias"):
        nchl.load(run)


def test_a_run_that_recorded_none_still_loads_and_says_so(mine: Path, tmp_path: Path) -> None:
    run = nchl.run("CartPole-v1", out=tmp_path / "run", network=f"{mine}:biased", **SETTINGS).folder
    expected = nchl.evaluate(run, episodes=4)["returns"]
    files = [run / "best.safetensors", run / "centre.safetensors", *(run / "checkpoints").glob("*.safetensors")]
    for file in files:
        tensors, about = read_tensors(file)
        write_tensors(file, {name: array for name, array in tensors.items() if not name.startswith("constant.")}, about)
    record = json.loads((run / "config.json").read_text())
    del record["settings"]["evolve_biases"]
    (run / "config.json").write_text(json.dumps(record))
    result = nchl.evaluate(run, episodes=4)
    assert result["notes"] == [NOT_RECORDED]
    assert result["returns"] == expected  # drawn under the same seed by the same torch
    assert NOT_RECORDED in nchl.load(run)[0].notes
    told: list[str] = []
    nchl.resume(run, generations=3, on_note=told.append)
    assert NOT_RECORDED in told
    assert nchl.evaluate(run, episodes=4)["notes"] == []


def test_a_run_that_begins_with_another_ones_centre_takes_its_constants(mine: Path, tmp_path: Path) -> None:
    first = nchl.run("CartPole-v1", out=tmp_path / "first", network=f"{mine}:biased", **SETTINGS).folder
    second = nchl.evolution("CartPole-v1", network=f"{mine}:biased", initial_genome=str(first), **{**SETTINGS, "seed": 8})
    assert np.array_equal(second.workers.constants["0.bias"], read_tensors(first / "centre.safetensors")[0]["constant.0.bias"])
    tensors, about = second.state()
    third = nchl.evolution("CartPole-v1", network=f"{mine}:biased", **{**SETTINGS, "seed": 9})
    with pytest.raises(CheckpointError, match="other constants"):
        third.restore(tensors, about)


def test_evolved_biases_stand_at_the_end_of_the_genome(mine: Path, tmp_path: Path) -> None:
    plain = build(NetworkSpec(f"{mine}:biased"), (4,), 2)
    evolved = build(NetworkSpec(f"{mine}:biased", evolve_biases=True), (4,), 2)
    assert evolved.nparams == plain.nparams + 5
    assert [block.name for block in evolved.layout.blocks][-2:] == ["biases0", "biases1"]
    assert evolved.constants() == {}
    run = nchl.run("CartPole-v1", out=tmp_path / "run", network=f"{mine}:biased", evolve_biases=True, **SETTINGS).folder
    assert not any(name.startswith("constant.") for name in read_tensors(run / "best.safetensors")[0])
    with pytest.raises(InvalidArgument, match="evolve-biases does not apply to the network nchl"):
        nchl.run("CartPole-v1", out=tmp_path / "other", evolve_biases=True, **SETTINGS)


def module() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 2))


@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize("batch", [(), (4,)])
def test_evolved_biases_act_as_the_modules_own(backend: str, batch: tuple[int, ...]) -> None:
    options: dict[str, Any] = {"dtype": torch.float64, "backend": backend, "generator": torch.Generator().manual_seed(1)}
    together = nchl.from_module(module(), (1, 3, 3), biases="evolve", population=3, **options)
    genomes = torch.randn(3, together.nparams, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x = torch.randn(5, 3, *batch, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    together.set_hrules(genomes)
    together.load_constants(nchl.from_module(module(), (1, 3, 3), biases="evolve").constants() | stats())
    together.reset(weights=(weights := [w[0].clone() for w in together.weights]))
    outputs = [together.step(each) for each in x]
    for one in range(3):
        own = nchl.from_module(module(), (1, 3, 3), **options)
        named = together.layout.unpack(genomes[one])
        own.load_constants({**stats(), **{f"{name}.bias": named[f"biases{k}"] for k, name in enumerate(("0", "4", "6"))}})
        own.set_hrules(genomes[one, : own.nparams])
        own.reset(weights=weights)
        for t, each in enumerate(x):
            assert torch.allclose(own.step(each[one]), outputs[t][one], rtol=0, atol=1e-12)


def stats() -> dict[str, Tensor]:
    names = {"weight": [1.0, 2.0], "bias": [0.5, -0.5], "running_mean": [0.1, 0.2], "running_var": [2.0, 3.0]}
    return {f"1.{name}": torch.tensor(values, dtype=torch.float64) for name, values in names.items()}


def test_constants_are_checked_before_any_changes() -> None:
    network = nchl.from_module(module(), (1, 3, 3))
    before = {name: tensor.clone() for name, tensor in network.constants().items()}
    assert set(before) == {*stats(), "0.bias", "4.bias", "6.bias"}
    with pytest.raises(ShapeError, match=r"expected 6\.bias of shape \(2,\), got \(3,\)"):
        network.load_constants({**{name: tensor + 1 for name, tensor in before.items()}, "6.bias": torch.zeros(3)})
    with pytest.raises(InvalidArgument, match="expected numbers"):
        network.load_constants({**before, "0.bias": ["a", "b"]})
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.constants().items())
    with pytest.raises(InvalidArgument, match=r"constants are none, got 0\.bias"):
        nchl.NcHL([2, 3]).load_constants({"0.bias": torch.zeros(3)})
    with pytest.raises(UnknownName, match="did you mean 'evolve'"):
        nchl.from_module(module(), (1, 3, 3), biases="evolved")
    with pytest.raises(InvalidArgument, match="has a bias that could be evolved"):
        nchl.from_module(nn.Sequential(nn.Linear(2, 2, bias=False)), (2,), biases="evolve")


def test_making_a_network_leaves_the_global_generators_as_they_were(mine: Path) -> None:
    def numpys() -> list[int]:
        return np.random.get_state(legacy=False)["state"]["key"].tolist()  # type: ignore[no-any-return]  # noqa: NPY002

    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    held = torch.get_rng_state(), numpys()
    build(NetworkSpec(f"{mine}:biased"), (4,), 2, seed=5)
    assert torch.equal(held[0], torch.get_rng_state())
    assert held[1] == numpys()
    random.seed(1)
    before = random.getstate()  # not around a network: the tests' own checks of shapes draw from it
    with seeded(5):
        drawn = random.random(), torch.rand(1).item()
    assert random.getstate() == before
    with seeded(5):
        assert (random.random(), torch.rand(1).item()) == drawn
