"""Run folders that version 0.1 wrote still load, evaluate and go on with the same numbers.

`tests/data/runs-0.1` holds one small run per kind of network, and in `expected.json` what that version made of it: returns of
`nchl evaluate`, outputs of one lifetime, and the generation that `nchl resume` adds.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import nchl
from nchl.runs.provenance import machine
from nchl.runs.results.evaluate import evaluate
from nchl.runs.session.resume import resume
from nchl.runs.store import trust
from nchl.runs.store.metrics import read_metrics

pytest.importorskip("gymnasium")
pytest.importorskip("envpool")

KEPT = Path(__file__).resolve().parents[2] / "data" / "runs-0.1"
RUNS = ("nchl", "hl", "wnchl", "static", "own")


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a kept run, with its own files beside it."""
    monkeypatch.setenv(trust.VARIABLE, "1")
    folder = tmp_path / request.param
    shutil.copytree(KEPT / request.param, folder)
    shutil.copy(KEPT / "own.py", tmp_path)
    config = folder / "config.json"
    config.write_text(config.read_text().replace("FOLDER/", f"{tmp_path}/"))
    return folder


def expected(run: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((run / "expected.json").read_text())
    return answer


def same_machine(run: Path) -> bool:
    """Whether this machine promises the bits of the one that wrote the run."""
    before = json.loads((run / "config.json").read_text())["same_bits"]
    now = machine.same_bits(backend=before["backend"], simulator="envpool", strategy="openai-es")
    return all(before[name] == now.get(name) for name in before if name != "backend")


@pytest.mark.parametrize("run", RUNS, indirect=True)
@pytest.mark.parametrize("which", ["best", "centre"])
def test_it_evaluates_to_the_same_numbers(run: Path, which: str) -> None:
    wanted = expected(run)["evaluate"][which]
    got = evaluate(run, episodes=20, which=which)
    if same_machine(run):
        assert got["returns"] == wanted["returns"]
        assert {name: got[name] for name in ("mean", "std", "length")} == {name: wanted[name] for name in ("mean", "std", "length")}
    else:  # a last digit may turn one action, and with it the rest of an episode
        equal = Counter(got["returns"]) & Counter(wanted["returns"])
        assert equal.total() >= 15, (got["returns"], wanted["returns"])


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_its_network_acts_and_learns_as_before(run: Path) -> None:
    agent, _ = nchl.load(run)
    agent.reset(seed=0)
    outputs = torch.stack([agent.network.step(observation) for observation in torch.sin(torch.arange(40.0).reshape(10, 4))])
    torch.testing.assert_close(outputs, torch.tensor(expected(run)["outputs"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_it_goes_on(run: Path) -> None:
    wanted = expected(run)["resumed"]
    resume(run, generations=3, allow_other_machine=True)
    row = read_metrics(run / "metrics.csv")[-1]
    loose = {"rel": 0, "abs": 0} if same_machine(run) else {"rel": 0.2, "abs": 1.0}
    for name, value in wanted.items():
        assert float(row[name]) == pytest.approx(value, **loose), name
