"""Comparisons of run folders that were written by hand: groups, scores, targets, and what is said about doubtful ones."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.report.compare import compare
from nchl.report.compare.groups import group_runs
from nchl.report.compare.runs import digest, find_runs, read_run
from nchl.report.compare.scores import curves
from nchl.report.compare.tables import runs_table
from reference.comparison import write_evaluation, write_run


def two_groups(folder: Path, seeds: int = 5) -> Path:
    for seed in range(seeds):
        write_run(folder / f"nchl-{seed}", [10.0, 50.0 + seed, 100.0 + seed], seed=seed, network="nchl")
        write_run(folder / f"hl-{seed}", [10.0, 20.0, 30.0 + seed], seed=seed, network="hl", nparams=99)
    return folder


def test_two_groups_by_hand(tmp_path: Path) -> None:
    found = compare([two_groups(tmp_path)])
    by_name = {scored.group.name: scored for scored in found.groups}
    assert set(by_name) == {"network=nchl", "network=hl"}
    best, other = by_name["network=nchl"], by_name["network=hl"]
    assert best.scores.tolist() == [100, 101, 102, 103, 104]
    assert (best.iqm.value, best.median.value, best.nparams, other.nparams) == (102, 102, 7, 99)
    assert best.iqm.low >= 100
    assert best.iqm.high <= 104
    assert found.target == pytest.approx(10 + 0.9 * (102 - 10))
    assert (best.reached, other.reached) == (5, 0)
    assert (best.evaluations_to_target, best.env_steps_to_target) == (30, 300)
    assert np.isinf(other.evaluations_to_target)
    assert (best.evaluations, best.env_steps) == (30, 300)
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.improvement.value, pair.u) == ("network=nchl", "network=hl", 1.0, 25.0)
    assert pair.p == pair.p_holm == pytest.approx(2 / 252)
    assert found.shared["population"] == 10
    assert not found.warnings
    assert not found.notes


def test_an_equal_seed_gives_an_equal_comparison(tmp_path: Path) -> None:
    two_groups(tmp_path, seeds=3)
    assert compare([tmp_path], seed=4).to_json() == compare([tmp_path], seed=4).to_json()


def test_runs_are_found_two_levels_deep_and_once(tmp_path: Path) -> None:
    two_groups(tmp_path / "a" / "b", seeds=1)
    paths, _ = find_runs([tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "nchl-0"])
    assert len(paths) == 2
    with pytest.raises(RunError, match="there is no config"):
        find_runs([tmp_path])
    with pytest.raises(RunError, match="no folder"):
        find_runs([tmp_path / "nowhere"])


def test_mixed_tasks_are_refused_with_the_list(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0])
    write_run(tmp_path / "b", [1.0], task="Acrobot-v1")
    with pytest.raises(RunError, match=r"different tasks.*Acrobot-v1: .*b; CartPole-v1: .*a"):
        compare([tmp_path])


def test_what_may_mislead_is_said(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", [1.0, 2.0], seed=seed, simulator="gymnasium")
    write_run(tmp_path / "b0", [1.0], seed=0, generations=9, reason=None)
    write_run(tmp_path / "b1", [1.0], seed=1, generations=9, reason=None)
    (tmp_path / "b1" / ".lock").write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    write_run(tmp_path / "copy", [1.0, 2.0], seed=0, simulator="gymnasium")
    write_run(tmp_path / "empty", [], seed=7, generations=2, reason=None)
    said = "\n".join(compare([tmp_path]).warnings)
    assert "fewer than 5 runs" in said
    assert "unequal budgets" in said
    assert "b0 (stopped, 1 of 9 generations)" in said
    assert "b1 (is running, 1 of 9 generations)" in said
    assert "different simulators (envpool, gymnasium)" in said
    assert "copy repeats" in said
    assert "empty has no finished generation" in said
    alone = compare([tmp_path], finished_only=True)
    assert len(alone.groups) == 1
    assert "b0 has not ended and was left out" in "\n".join(alone.warnings)


def test_settings_that_make_other_episodes_are_said(tmp_path: Path) -> None:
    for seed in range(5):
        write_run(tmp_path / f"plain-{seed}", [1.0], seed=seed)
        write_run(tmp_path / f"short-{seed}", [1.0], seed=seed, max_episode_steps=50, perturb=("sensor:0=0",))
        write_run(tmp_path / f"strong-{seed}", [1.0], seed=seed, env={"gravity": 12.0})
    (said,) = compare([tmp_path]).warnings
    assert said.startswith("the groups played different episodes (max_episode_steps, env, perturb)")


def test_evaluations_under_the_same_perturbations_are_told_from_those_as_in_training(tmp_path: Path) -> None:
    def evaluate(*sets: str) -> None:
        for folder in sorted(tmp_path.glob("broken-*")):
            write_evaluation(folder, 2.0, digest=digest(folder / "best.safetensors"), perturbations=sets)

    for seed in range(5):
        plain = write_run(tmp_path / f"plain-{seed}", [1.0], seed=seed)
        write_evaluation(plain, 3.0, digest=digest(plain / "best.safetensors"), perturbations=[])
        write_run(tmp_path / f"broken-{seed}", [1.0], seed=seed, perturb=("sensor:0=0",))
    evaluate()
    intact = compare([tmp_path])
    assert (intact.score, intact.score_text[-23:]) == ("evaluation", ", without perturbations")
    (said,) = intact.warnings
    assert said.startswith("the groups were trained under different perturbations (perturb) and evaluated under the same")
    evaluate("sensor:0=0")
    as_trained = compare([tmp_path])
    assert (as_trained.score, "perturb" in as_trained.score_text) == ("evaluation", False)
    (said,) = as_trained.warnings
    assert said.startswith("the groups played different episodes (perturb)")
    assert "--evaluate --perturb none" in said
    evaluate("sensor:1=0")  # neither those of their training nor those of the others
    assert compare([tmp_path]).score == "mean"
    with pytest.raises(InvalidArgument, match="on the same episodes"):
        compare([tmp_path], score="evaluation")
    alone = compare(sorted(tmp_path.glob("broken-*")))
    assert alone.score_text.endswith(", perturbed: sensor:1=0")


def test_evaluations_by_several_versions_of_the_simulator_are_said(tmp_path: Path) -> None:
    def warnings(*versions: dict[str, str]) -> list[str]:
        for seed in range(5):
            run = tmp_path / f"plain-{seed}"
            write_evaluation(run, 3.0, digest=digest(run / "best.safetensors"), versions=versions[seed % len(versions)])
        return list(compare([tmp_path]).warnings)

    for seed in range(5):
        write_run(tmp_path / f"plain-{seed}", [1.0], seed=seed)
    assert warnings({"envpool": "1.0"}) == []
    assert warnings({"envpool": "1.0"}, {}) == []  # an evaluation of a build that did not record them
    (said,) = warnings({"envpool": "1.0", "other": "2"}, {"envpool": "1.1"})
    assert said.startswith("the runs were evaluated with different versions (envpool 1.0, 1.1)")


def test_budgets_are_compared_by_what_ended_the_runs_and_what_an_evaluation_costs(tmp_path: Path) -> None:
    def of(kind: str, network: str, means: list[float], **options: Any) -> None:
        for seed in range(5):
            write_run(tmp_path / kind / f"{network}-{seed}", means, seed=seed, network=network, **options)

    of("episodes", "nchl", [1.0, 2.0], episodes=1)
    of("episodes", "hl", [1.0, 2.0], episodes=10, columns={"env_steps": [1000, 2000]})
    (said,) = compare([tmp_path / "episodes"]).warnings
    assert "unequal budgets; environment steps of a run: " in said
    assert "network=nchl episodes=1 200" in said
    assert "network=hl episodes=10 2,000" in said
    # One rule's episodes end earlier: more evaluations in the same number of steps.
    ended = {"max_steps": 200, "generations": 9, "reason": "max_steps"}
    of("steps", "nchl", [1.0, 2.0], **ended)
    of("steps", "hl", [1.0, 2.0, 3.0, 4.0], columns={"env_steps": [51, 102, 153, 204]}, **ended)
    assert not compare([tmp_path / "steps"]).warnings
    of("generations", "nchl", [1.0, 2.0])
    of("generations", "hl", [1.0, 2.0, 3.0, 4.0])
    (said,) = compare([tmp_path / "generations"]).warnings
    assert "evaluations of a run: " in said


def test_nothing_to_compare(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [], generations=2, reason=None)
    with pytest.raises(RunError, match="none of the 1 runs"):
        compare([tmp_path])


def test_negative_returns_have_a_sensible_target(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", [-1000.0, -200.0, -100.0], seed=seed)
    assert compare([tmp_path]).target == pytest.approx(-190)


def test_runs_that_never_reach_the_target_count(tmp_path: Path) -> None:
    for seed, means in enumerate([[5.0, 9.0], [9.0, 9.0], [5.0, 5.0]]):
        write_run(tmp_path / f"a{seed}", means, seed=seed)
    (scored,) = compare([tmp_path], target=9.0).groups
    assert scored.reached == 2
    assert scored.evaluations_to_target == 20  # the median of 10, 20 and infinity
    (scored,) = compare([tmp_path], target=99.0).groups
    assert (scored.reached, scored.evaluations_to_target) == (0, np.inf)
    with pytest.raises(InvalidArgument, match="finite"):
        compare([tmp_path], target=float("nan"))


def test_the_score_is_the_most_trustworthy_that_all_runs_have(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", [1.0, 2.0], seed=seed, validation_episodes=3, columns={"validation_centre": [4.0, 5.0 + seed]})
    assert compare([tmp_path]).score == "validation"
    assert compare([tmp_path], score="mean").groups[0].scores.tolist() == [2, 2]
    assert compare([tmp_path], score="best").score == "best"
    for seed in range(2):
        run = tmp_path / f"a{seed}"
        write_evaluation(run, 40.0 + seed, digest=digest(run / "best.safetensors"))
    found = compare([tmp_path])
    assert found.score == "evaluation"
    assert found.groups[0].scores.tolist() == [40, 41]
    assert "100 unseen episodes" in found.score_text

    write_evaluation(tmp_path / "a1", 99.0, digest="of another individual")
    assert compare([tmp_path]).score == "validation"
    with pytest.raises(InvalidArgument, match=r"1 of 2 runs have no evaluation.*--evaluate: .*a1"):
        compare([tmp_path], score="evaluation")
    write_run(tmp_path / "b", [1.0, 2.0], seed=5)
    assert compare([tmp_path]).score == "mean"
    with pytest.raises(InvalidArgument, match="validation-episodes"):
        compare([tmp_path], score="validation")
    with pytest.raises(UnknownName, match="did you mean 'mean'"):
        compare([tmp_path], score="maen")


def test_an_earlier_validation_is_not_the_last_one(tmp_path: Path) -> None:
    nan = float("nan")
    for seed in range(5):
        columns = {"validation_centre": [nan, nan, 470.0, nan, nan]}  # only the generation at the target was validated
        write_run(tmp_path / "target" / str(seed), [50.0, 200.0, 480.0, 100.0, 10.0], seed=seed, target=475.0, columns=columns)
        columns = {"validation_centre": [100.0, 200.0, nan if seed == 3 else 300.0]}
        write_run(tmp_path / "diverged" / str(seed), [1.0, 2.0, 3.0], seed=seed, validation_episodes=4, columns=columns)
    found = compare([tmp_path / "target"])
    assert (found.score, found.column, found.groups[0].iqm.value) == ("mean", "mean", 10)
    found = compare([tmp_path / "diverged"])
    assert (found.score, found.groups[0].iqm.value) == ("mean", 3)
    passed_over, said = found.warnings
    assert "the score is mean and not validation, which 4 of 5 runs have, but not: " in passed_over
    assert "centre was not finite" in said
    assert all(line.endswith("diverged/3") for line in found.warnings)
    with pytest.raises(InvalidArgument, match=r"1 of 5 runs were made without.*or their last centre was not finite.*diverged/3"):
        compare([tmp_path / "diverged"], score="validation")


def test_episodes_that_were_not_finite_are_counted(tmp_path: Path) -> None:
    for seed in range(5):
        run = write_run(tmp_path / str(seed), [1.0], seed=seed)
        write_evaluation(run, 500.0, digest=digest(run / "best.safetensors"), non_finite=99 if seed == 2 else 0)
    found = compare([tmp_path])
    (said,) = found.warnings
    assert "not finite" in said
    assert said.endswith("/2 (99 of 100)")
    assert [run["non_finite"] for run in found.to_json()["groups"][0]["runs"]] == [0, 0, 99, 0, 0]
    assert runs_table(found).rows[2][4] == "99"
    assert not compare([tmp_path], score="mean").warnings


def test_many_groups_are_tested_against_the_best_or_a_baseline(tmp_path: Path) -> None:
    for place in range(9):
        for seed in range(5):
            write_run(tmp_path / f"a{place}-{seed}", [1.0 + 10 * place + seed], seed=seed, window=place + 1, network="wnchl")
    found = compare([tmp_path])
    assert len(found.pairs) == 8
    assert {pair.first for pair in found.pairs} == {"window=9"}
    # The best is the best of the same scores: all 36 pairs count.
    assert [pair.p_holm for pair in found.pairs] == pytest.approx([36 * 2 / 252] * 8)
    assert "only the pairs with the best" in found.notes[0]
    assert "all 36 pairs" in found.notes[0]
    assert "no corrected p-value of the 36 tests can be below 0.29" in found.notes[1]
    found = compare([tmp_path], baseline="window=1")
    assert {pair.second for pair in found.pairs} == {"window=1"}
    assert [pair.p_holm for pair in found.pairs] == pytest.approx([8 * 2 / 252] * 8)
    assert "of the 8 tests can be below 0.063" in found.notes[0]
    with pytest.raises(UnknownName, match="did you mean 'window=1'"):
        compare([tmp_path], baseline="windw=1")


def test_the_first_of_a_pair_is_more_probably_higher_whatever_the_means(tmp_path: Path) -> None:
    for seed, (often, steady) in enumerate([(5.0, 3.4), (5.0, 3.4), (5.0, 3.4), (0.0, 3.4), (0.0, 3.4)]):
        write_run(tmp_path / f"nchl-{seed}", [often], seed=seed, network="nchl")
        write_run(tmp_path / f"hl-{seed}", [steady], seed=seed, network="hl")
        write_run(tmp_path / f"static-{seed}", [steady - (seed == 0)], seed=seed, network="static")
    found = compare([tmp_path])
    values = {scored.group.name: scored.iqm.value for scored in found.groups}
    assert values["network=hl"] > values["network=nchl"]
    shown = {(pair.first, pair.second): (pair.improvement.value, pair.u) for pair in found.pairs}
    assert shown[("network=nchl", "network=hl")] == (0.6, 15)
    assert min(value for value, _ in shown.values()) >= 0.5


def test_curves_stop_where_a_run_has_not_ended_and_go_on_where_one_has(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0, 2.0, 3.0], seed=0)
    write_run(tmp_path / "b", [1.0, 9.0], seed=1, generations=3, reason="target")
    (group,) = group_runs([read_run(tmp_path / "a"), read_run(tmp_path / "b")])[0]
    x, values = curves(group, "mean")
    assert x.tolist() == [10, 20, 30]
    assert values.tolist() == [[1, 2, 3], [1, 9, 9]]
    (tmp_path / "b" / "summary.json").unlink()
    (group,) = group_runs([read_run(tmp_path / "a"), read_run(tmp_path / "b")])[0]
    assert curves(group, "mean")[0].tolist() == [10, 20]
    assert curves(group, "mean", "env_steps")[0].tolist() == [100, 200]


def test_a_run_of_softhebb_among_others_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0])
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "config.json").write_text('{"kind": "softhebb"}')
    assert "images is a run of `nchl softhebb`" in compare([tmp_path]).warnings[0]
    with pytest.raises(RunError, match="softhebb"):
        compare([tmp_path / "images"])


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "summary.json", "centre.safetensors", "evaluation.json"])
def test_a_spoilt_file_is_named(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [1.0])
    (run / name).write_bytes(b"\xff\xfe nonsense")
    with pytest.raises(RunError, match=name):
        compare([run])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation.json", "{}"),
        ("evaluation.json", '{"episodes": 1, "seed": 0, "versions": {"envpool": 1}}'),
        ("metrics.csv", "generation,evaluations,env_steps,mean\n1,,9,3\n"),
    ],
)
def test_a_file_that_lacks_numbers_is_named(name: str, content: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [1.0])
    (run / name).write_text(content)
    with pytest.raises(RunError, match=f"{name} was altered"):
        compare([run])


def test_hundreds_of_runs_are_read_without_torch(tmp_path: Path) -> None:
    for seed in range(200):
        write_run(tmp_path / f"a{seed}", [1.0, 2.0 + seed], seed=seed)
    program = (
        "import sys; from nchl.report.compare import compare; from nchl.report.compare.captions import caption; "
        "found = compare([sys.argv[1]]); caption(found, 'groups'); "
        "print(len(found.groups[0].scores), sorted({'torch', 'gymnasium', 'envpool', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "200 []"
