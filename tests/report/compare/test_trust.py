"""What a comparison says of runs whose numbers may not be what they seem: other versions, other results, missing scores."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")

from nchl.errors import InvalidArgument, RunError
from nchl.report.compare import compare
from nchl.report.compare.captions import caption
from nchl.report.compare.evaluations import evaluate_runs
from nchl.report.compare.runs import digest
from nchl.report.compare.tables import render
from reference.comparison import write_evaluation, write_run

OLD = {"nchl": "0.1.0", "nchl_commit": "a" * 40, "envpool": "1.2.5", "torch": "2.13.0"}
NEW = {"nchl": "0.2.0", "nchl_commit": "b" * 40, "envpool": "1.9.9", "torch": "2.13.0"}


def test_runs_of_different_versions_are_said(tmp_path: Path) -> None:
    for seed in range(6):
        write_run(tmp_path / f"{seed}", [1.0, 2.0], seed=seed, versions=OLD if seed < 4 else NEW)
    (said,) = compare([tmp_path]).warnings
    assert "nchl: 4 with 0.1.0 (commit aaaaaaaaaa), 2 with 0.2.0 (commit bbbbbbbbbb)" in said
    assert "envpool: 4 with 1.2.5, 2 with 1.9.9" in said
    assert "torch" not in said
    assert "one version alone" not in said


def test_versions_that_coincide_with_groups_are_said(tmp_path: Path) -> None:
    for seed in range(5):
        write_run(tmp_path / f"old-{seed}", [1.0, 2.0], seed=seed, versions=OLD)
        write_run(tmp_path / f"new-{seed}", [1.0, 2.0], seed=seed, versions=NEW, network="hl")
    (said,) = compare([tmp_path]).warnings
    assert said.endswith("each group has one version alone, so that a difference between groups may be one between versions")


def test_a_run_that_went_on_with_another_version_is_told_from_the_others(tmp_path: Path) -> None:
    went_on = [{"started": "", "commit": None, "dirty": None, "versions": {**each}} for each in (OLD, NEW)]
    for seed in range(5):
        write_run(tmp_path / f"{seed}", [1.0, 2.0], seed=seed, versions=OLD, sessions=went_on if seed == 3 else None)
    (said,) = compare([tmp_path]).warnings
    assert "envpool: 4 with 1.2.5, 1 with 1.2.5, then 1.9.9" in said


def test_one_run_twice_is_counted_once_and_two_results_of_one_run_are_refused(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / "first" / str(seed), [1.0, 2.0], seed=seed)
    write_run(tmp_path / "again" / "1", [1.0, 2.0], seed=1)
    found = compare([tmp_path])
    assert len(found.groups[0].scores) == 2
    assert "again/1 (same settings, same seed)" in found.warnings[0]
    write_run(tmp_path / "mended" / "0", [1.0, 92.0], seed=0)
    with pytest.raises(RunError, match=r"first/0 and .*mended/0 have .* different results \(column mean, from generation 2 on\)"):
        compare([tmp_path / "first", tmp_path / "mended"])


def test_a_better_score_that_some_runs_lack_is_said(tmp_path: Path) -> None:
    for seed in range(5):
        run = write_run(tmp_path / str(seed), [1.0, 2.0], seed=seed)
        if seed:
            write_evaluation(run, 40.0 + seed, digest=digest(run / "best.safetensors"))
    (said,) = compare([tmp_path]).warnings
    assert said.startswith("the score is mean and not evaluation, which 4 of 5 runs have, but not: ")
    assert said.endswith("/0; --evaluate plays what is missing")
    assert not compare([tmp_path], score="mean").warnings, "it was asked for"
    write_evaluation(tmp_path / "0", 40.0, digest=digest(tmp_path / "0" / "best.safetensors"), episodes=7)
    (said,) = compare([tmp_path]).warnings
    assert "because the runs were evaluated on different episodes" in said


def test_individuals_that_were_not_finite_are_counted(tmp_path: Path) -> None:
    for seed in range(5):
        write_run(tmp_path / str(seed), [1.0, 2.0], seed=seed, columns={"non_finite": [3, 7 if seed == 4 else 0]})
    (said,) = compare([tmp_path]).warnings
    assert "individuals of the last generation that were not finite" in said
    assert said.endswith("/4 (7 of 10)")
    assert not compare([tmp_path], score="best").warnings


def test_a_mean_around_the_centre_depends_on_sigma(tmp_path: Path) -> None:
    for seed in range(5):
        for sigma in (0.1, 0.3):
            write_run(tmp_path / f"{sigma}-{seed}", [1.0, 2.0], seed=seed, sigma=sigma)
    (said,) = compare([tmp_path]).warnings
    assert "the groups differ in sigma; --evaluate is fair" in said
    assert not compare([tmp_path], score="best").warnings


def test_an_evaluation_without_a_finite_episode_is_no_missing_one(tmp_path: Path) -> None:
    for seed in range(3):
        run = write_run(tmp_path / str(seed), [1.0, 2.0], seed=seed)
        mean: Any = None if seed == 1 else 4.0
        write_evaluation(run, mean, digest=digest(run / "best.safetensors"), non_finite=100 if seed == 1 else 0)
    with pytest.raises(InvalidArgument, match=r"no episode of the evaluation was finite in 1 of 3 runs: .*/1; choose --score mean"):
        compare([tmp_path], score="evaluation")


def test_a_run_without_a_best_individual_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [write_run(tmp_path / str(seed), [1.0, 2.0], seed=seed) for seed in range(3)]
    (runs[1] / "best.safetensors").unlink()
    played = []
    monkeypatch.setattr("nchl.report.compare.evaluations._play", lambda path, *_: played.append(path) or {"notes": []})
    with pytest.raises(RunError, match=r"1 of 3 runs to be evaluated have no best individual yet, and the others were evaluated: .*/1;"):
        evaluate_runs(runs)
    assert played == [runs[0], runs[2]]


def test_the_correction_is_told_wherever_pairs_are(tmp_path: Path) -> None:
    for place in range(9):
        for seed in range(5):
            write_run(tmp_path / f"a{place}-{seed}", [1.0 + 10 * place + seed], seed=seed, window=place + 1, network="wnchl")
    found = compare([tmp_path])
    assert found.tests == found.to_json()["tests"] == 36
    told = "Holm: corrected for 36 tests, of all pairs of the 9 groups; those with the best are shown."
    assert caption(found, "pairs").endswith(told)
    assert caption(compare([tmp_path], baseline="window=1"), "pairs").endswith("Holm: corrected for 8 tests.")
    (first, *_) = csv.DictReader(io.StringIO(render(found, "csv", ["pairs"])))
    assert (first["tests"], first["task"], first["score_name"]) == ("36", "CartPole-v1", "mean")
    for table in ("groups", "runs"):
        (first, *_) = csv.DictReader(io.StringIO(render(found, "csv", [table])))
        assert (first["task"], first["score_name"]) == ("CartPole-v1", "mean")
