"""The result of `nchl.run` stands wherever a run folder is read, and a single run where several are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import nchl
from nchl.errors import InvalidArgument
from nchl.report.adaptation import adapt
from nchl.report.compare import compare
from nchl.report.compare.runs import read_run
from nchl.runs.session.loop import RunResult
from reference.runs import SMALL

pytest.importorskip("gymnasium")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return nchl.run("CartPole-v1", tmp_path_factory.mktemp("runs") / "run", **SMALL)


def test_a_result_is_the_path_of_its_folder(result: RunResult, tmp_path: Path) -> None:
    assert os.fspath(result) == str(result.folder)
    assert nchl.load(result)[0].nparams == nchl.load(result.folder)[0].nparams
    told = nchl.evaluate(result, episodes=np.int64(2), seed=np.int64(1))
    assert json.loads(json.dumps(told)) == nchl.evaluate(result.folder, episodes=2, seed=1)
    again = nchl.resume(result, generations=result.generations + 1)
    assert os.fspath(again) == os.fspath(result)
    begun = nchl.run("CartPole-v1", tmp_path / "next", **{**SMALL, "initial_genome": again})
    assert nchl.load(begun)[0].nparams == nchl.load(again)[0].nparams


def test_another_object_in_place_of_a_run_is_refused(result: RunResult) -> None:
    with pytest.raises(InvalidArgument, match=r"expected a run as its folder.* got an object Agent"):
        nchl.evaluate(nchl.load(result)[0])  # type: ignore[arg-type]


def test_a_single_run_is_compared_and_adapted_as_one(result: RunResult) -> None:
    pytest.importorskip("scipy")
    listed = json.dumps(compare([result.folder]).to_json())
    for one in (result, result.folder, str(result.folder), read_run(result.folder)):
        assert json.dumps(compare(one).to_json()) == listed
    study = adapt("zoo:cartpole-nchl", perturb=["lesion:weights=1@10"], episodes=np.int64(1), simulator="gymnasium")
    assert list(study.runs.values()) == [["zoo:cartpole-nchl"]]
    assert adapt(result, perturb="lesion:weights=1@2", episodes=1).task == "CartPole-v1"
