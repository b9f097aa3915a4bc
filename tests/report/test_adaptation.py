"""Studies of adaptation: recovery by hand-made rewards, and real runs under real perturbations."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from nchl.errors import InvalidArgument, NchlError, RunError
from nchl.perturbations.suites import Suite
from nchl.report.adaptation import intervals
from nchl.report.adaptation.intervals import episodes_of, median_steps, pooled_mean
from nchl.report.adaptation.pairs import compare_rows
from nchl.report.adaptation.recovery import Recovery, around, log_rank, paired_recovery_test, recovery, recovery_test
from nchl.report.adaptation.study import Study, _caveats, _row, adapt
from nchl.report.adaptation.tables import render
from nchl.report.adaptation.written import keep, read, studies, write
from nchl.report.compare.statistics import mann_whitney
from nchl.report.page import document
from nchl.report.page.adaptation import _path as page_path
from nchl.report.plots import adaptation as plots
from nchl.runs.adaptation.processes import trials_in_processes
from nchl.runs.adaptation.trials import Asked, Episodes, Trial, trials
from nchl.runs.results.scene import open_run
from nchl.runs.session.run import run
from nchl.runs.store.folder import RunFolder


def trial(rewards: np.ndarray, twin: np.ndarray, moments: list[int], lengths: list[int] | None = None) -> Trial:
    count, steps = rewards.shape
    lived = np.array(lengths or [steps] * count)
    intact = Episodes(twin, np.full(count, steps), twin.sum(1))
    return Trial("p", "motor:0=0@1", "as evolved", np.array(moments), intact, Episodes(rewards, lived, rewards.sum(1)))


def test_the_time_to_recover_is_when_fifty_steps_are_good_again() -> None:
    twin = np.ones((3, 300))
    rewards = np.ones((3, 300))
    rewards[0, 100:130] = 0  # 50 steps from 100 + k: 20 + k good ones for k <= 30; 45 are needed
    rewards[1, 100:] = 0.89
    found = recovery([trial(rewards, twin, [100, 100, 100])])
    assert found.recovered.tolist() == [True, False, True]
    assert found.steps.tolist() == [25, 300 - 100 - 50, 0], "the last k whose 50 steps lie in the twin's episode"
    assert found.share == pytest.approx(2 / 3)
    assert found.median == 25


def test_an_episode_that_has_ended_does_not_recover() -> None:
    twin, rewards = np.full((1, 300), -1.0), np.full((1, 300), -1.0)
    rewards[0, 120:] = 0  # better than its twin's, and yet there are none
    found = recovery([trial(rewards, twin, [100], [120])])
    assert found.recovered.tolist() == [False]


def test_negative_rewards_are_judged_alike() -> None:
    twin = np.full((2, 200), -1.0)
    rewards = np.stack([np.full(200, -1.09), np.full(200, -1.11)])
    assert recovery([trial(rewards, twin, [50, 50])]).recovered.tolist() == [True, False]


def test_what_is_lost_is_a_paired_difference() -> None:
    # Twins differ by 100, and each of the perturbed is 5 below its own.
    twin = np.repeat(-np.arange(1, 7.0)[:, None], 100, axis=1)
    row = _row("a", [trial(twin - 0.05, twin, [40] * 6)], 0)
    told = row.to_json()
    assert told["retained"] is None
    assert [told[name] for name in ("lost", "lost_low", "lost_high")] == pytest.approx([5, 5, 5])


def test_what_cannot_be_judged_is_left_out() -> None:
    found = recovery([trial(np.ones((2, 100)), np.ones((2, 100)), [51, 50])])
    assert (found.left_out, len(found.steps)) == (1, 1)
    nothing = Recovery(np.zeros(0, np.int64), np.zeros(0, np.bool_), 3)
    assert (nothing.share, nothing.median, nothing.curve()[0].tolist()) == (None, None, [])
    assert log_rank(nothing, found) is None


def test_the_median_is_kaplan_and_meiers() -> None:
    # Of 5: one at 1, one censored at 2, then 2 of the 3 left: 0.8, 0.8 * 2 / 3, 0.8 / 3.
    found = Recovery(np.array([1, 2, 3, 4, 5]), np.array([True, False, True, True, False]))
    times, left = found.curve()
    assert dict(zip(times.tolist(), np.round(left, 6).tolist(), strict=True))[3.0] == pytest.approx(0.8 * 2 / 3, abs=1e-6)
    assert found.median == 4
    assert Recovery(np.array([1, 9, 9]), np.array([True, False, False])).median is None, "fewer than half recover"


def test_log_rank_tells_early_from_never() -> None:
    early, never = Recovery(np.arange(20), np.ones(20, np.bool_)), Recovery(np.full(20, 100), np.zeros(20, np.bool_))
    p, same = log_rank(early, never), log_rank(early, early)
    assert p is not None
    assert p < 1e-6
    assert same == pytest.approx(1)


def individuals(random: np.random.Generator, count: int) -> list[Recovery]:
    """Runs of one group: each has a mean time of its own, and 50 episodes."""
    means = random.uniform(5, 100, count)
    times = [random.exponential(mean, 50).astype(np.int64) for mean in means]
    return [Recovery(np.minimum(each, 120), each < 120) for each in times]


def test_equal_groups_of_several_runs_differ_in_one_of_twenty_trials() -> None:
    random = np.random.default_rng(0)
    pairs = [(individuals(random, 4), individuals(random, 4)) for _ in range(150)]
    found = np.array([recovery_test(*pair) for pair in pairs])
    pooled = np.array(
        [
            log_rank(
                *(Recovery(*(np.concatenate([getattr(run, name) for run in runs]) for name in ("steps", "recovered"))) for runs in pair)
            )
            for pair in pairs
        ]
    )
    assert (pooled < 0.05).mean() > 0.3, "as if all episodes were independent"
    assert (found < 0.05).mean() < 0.1
    never = [Recovery(np.full(50, 120), np.zeros(50, np.bool_)) for _ in range(4)]
    early = [Recovery(np.full(50, k), np.ones(50, np.bool_)) for k in range(4)]
    assert recovery_test(early, never) == pytest.approx(2 / 70), "of the 70 ways to choose 4 of 8, the two extreme ones"


def test_every_figure_has_an_interval() -> None:
    random = np.random.default_rng(1)
    twin, moments = np.ones((40, 200)), [60] * 40
    made = []
    for fraction in (0.2, 0.8, 0.5):
        rewards = np.ones((40, 200))
        rewards[:, 60:] = np.where(random.random((40, 1)) < fraction, 1.0, 0.5)
        made.append(trial(rewards, twin, moments))
    alone, several = _row("a", made[:1], 0).to_json(), _row("a", made, 0).to_json()
    for row in (alone, several):
        for name in ("reward_after", "reward_late", "recovered"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name
        assert row["intact_low"] == row["intact_mean"] == row["intact_high"] == 200
        assert row["reward_before_low"] == row["reward_before"] == 1
    width = {name: row["recovered_high"] - row["recovered_low"] for name, row in (("alone", alone), ("several", several))}
    assert width["several"] > 1.5 * width["alone"], "runs differ more than episodes of one"
    assert alone["recovery_steps"] is None
    assert several["recovery_steps"] in (0, None)


def test_the_interval_of_the_median_is_that_of_resampled_medians() -> None:
    random = np.random.default_rng(2)
    steps, recovered = random.integers(0, 40, 25), random.random(25) < 0.75
    whole = Recovery(steps, recovered)
    found = median_steps(episodes_of(whole), 3)
    weights = np.random.default_rng(3).multinomial(25, np.full(25, 1 / 25), size=2000)[:300]
    medians = [Recovery(np.repeat(steps, each), np.repeat(recovered, each)).median for each in weights]
    assert whole.median is not None
    assert found[0] is not None
    assert found[0] < whole.median
    assert found[1] is None or found[1] > whole.median
    resampled = intervals._medians(steps, recovered, weights)
    assert [None if np.isinf(each) else each for each in resampled] == medians, "as by scipy"
    assert median_steps([whole], 0) == (None, None), "one unit"


def test_pooled_means_weigh_episodes_and_resample_units() -> None:
    first, second = np.array([1.0, 1.0, np.nan]), np.array([4.0])
    found = pooled_mean([first, second, np.array([np.nan])], 0)
    assert found == (2.0, 1.0, 4.0)
    assert pooled_mean([np.array([np.nan])], 0) is None
    assert np.isnan(pooled_mean([first], 0)).tolist() == [False, True, True]  # type: ignore[arg-type]


def test_controls_of_a_group_are_compared_in_pairs() -> None:
    # Starts differ more than controls do: the frozen copy is a little worse in every episode.
    random = np.random.default_rng(0)
    lived = random.integers(80, 300, 30)
    rows = []
    for control, lost in (("as evolved", 0), ("frozen", 3)):
        rewards = (np.arange(300) < lived[:, None] - lost * random.integers(1, 3, 30)[:, None]).astype(float)
        each = trial(rewards, np.ones((30, 300)), [60] * 30)
        rows.append(_row("a", [replace(each, control=control)], 0))
    (pair,) = compare_rows(rows, 0)
    assert (pair.paired, pair.first[1]) == (True, "as evolved")
    assert pair.p < 1e-4
    assert mann_whitney(rows[0].values, rows[1].values)[1] > 0.3, "as if they were different starts"
    assert pair.improvement == (1.0, 1.0, 1.0)
    (other,) = compare_rows([rows[0], replace(rows[1], group="b", control="as evolved")], 0)
    assert (other.paired, other.p > 0.3) == (False, True)


def test_the_first_of_a_pair_is_more_probably_higher_whatever_the_means() -> None:
    twin = np.ones((10, 400))
    rewards = (np.arange(400) < np.array([400] * 4 + [110] * 6)[:, None]).astype(float)  # the higher mean
    steady = (np.arange(400) < 120 * np.ones((10, 1))).astype(float)
    rows = [_row("a", [trial(rewards, twin, [60] * 10)], 0), _row("a", [replace(trial(steady, twin, [60] * 10), control="frozen")], 0)]
    assert rows[0].mean.value > rows[1].mean.value
    for second in (rows[1], replace(rows[1], group="b", control="as evolved")):
        (pair,) = compare_rows([rows[0], second], 0)
        assert (pair.first, pair.improvement.value) == ((second.group, second.control), 0.6)
        assert pair.improvement.low <= 0.6 <= pair.improvement.high


def test_a_single_run_beside_several_is_one_number() -> None:
    twin = np.ones((20, 200))
    made = [trial(np.full((20, 200), level), twin, [60] * 20) for level in (0.9, 0.95, 1.0, 0.2)]
    (pair,) = compare_rows([_row("three", made[:3], 0), _row("one", made[3:], 0)], 0)
    assert (pair.first[0], pair.improvement.value) == ("three", 1.0)
    assert pair.p == pair.recovery_p == pytest.approx(0.5), "the only run of a group may be the worst of four"


def test_recovery_of_pairs() -> None:
    def times(*steps: int, late: tuple[int, ...] = (), out: int = 0) -> Recovery:
        return Recovery(np.array(steps), ~np.isin(np.arange(len(steps)), late), out, tuple(range(out, out + len(steps))))

    # Earlier in episodes 0, 2 (the other is censored then) and 3, later in none; both are censored in episode 1.
    first, second = times(1, 9, 4, 0), times(2, 5, 4, 7, late=(1, 2))
    assert paired_recovery_test([times(1, 9, 4, 0, late=(1,))], [second]) == pytest.approx(2 / 2**3)
    assert paired_recovery_test([first], [first]) == 1
    assert paired_recovery_test([times(1)], [times(1, out=1)]) is None, "no episode is judged in both"
    early, never = [times(k, k) for k in range(6)], [times(50 + k, 50 + k, late=(0, 1)) for k in range(6)]
    assert paired_recovery_test(early, never) == pytest.approx(2 / 2**6), "six runs"


def test_the_restricted_mean_is_the_area_under_the_curve() -> None:
    found = Recovery(np.array([1, 2, 3, 4, 5]), np.array([True, False, True, True, False]))
    assert found.restricted_mean(3.5) == pytest.approx(1 + 0.8 * 2 + 0.8 * 2 / 3 * 0.5)
    assert found.last == 5
    assert Recovery(np.array([4, 2]), np.ones(2, np.bool_)).restricted_mean(10) == 3
    assert Recovery(np.full(3, 7), np.zeros(3, np.bool_)).restricted_mean(7) == 7


def test_the_band_of_a_group_resamples_its_runs() -> None:
    twin = np.ones((20, 120))
    each = [trial(np.full((20, 120), level), twin, [60] * 20) for level in (0.0, 1.0)]
    curve = _row("a", each, 0).curve
    assert (curve["low"][0], curve["mean"][0], curve["high"][0]) == (0.0, 0.5, 1.0)
    alone = _row("a", each[:1], 0).curve
    assert (alone["low"][0], alone["high"][0]) == (0.0, 0.0)


def test_rewards_around_the_moment() -> None:
    rewards = np.repeat([[1.0, 0.5, 0.8, 0.2]], 50, axis=1).reshape(1, 200)
    found = around(trial(rewards, np.ones((1, 200)), [50]))
    assert [float(found[name][0]) for name in ("before", "after", "late")] == pytest.approx([1.0, 0.5, 0.2])
    assert np.isnan(around(trial(rewards, np.ones((1, 200)), [0]))["before"]).all()


def test_a_window_of_fewer_steps_judges_short_episodes() -> None:
    twin = np.ones((1, 50))
    rewards = np.ones((1, 50))
    rewards[0, 20:26] = 0  # of the ten steps from 20 + k on, 4 + k are good for k <= 6; 9 are needed
    short = trial(rewards, twin, [20])
    assert recovery([short]).left_out == 1
    assert recovery([short], 10).steps.tolist() == [5]
    assert [float(around(short, 10)[name][0]) for name in ("before", "after", "late")] == pytest.approx([1.0, 0.4, 1.0])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt")
    small = {"hidden": [4], "population": 16, "generations": 4}
    for seed in (0, 1):
        run("CartPole-v1", folder / f"plastic{seed}", seed=seed, **small)
    run("CartPole-v1", folder / "static", network="static", seed=0, **small)
    return folder


@pytest.fixture(scope="module")
def study(runs: Path) -> Study:
    return adapt([runs], perturb=["lesion:weights=1@5", "sensor:*=0@3..9"], episodes=8)


def test_the_window_of_a_study_is_told_and_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "short"
    run("CartPole-v1", folder, network="static", hidden=[4], population=4, generations=1, max_episode_steps=40)
    how: dict[str, Any] = {"perturb": ["lesion:weights=1@2"], "episodes": 4}
    usual, short = adapt([folder], **how), adapt([folder], window=2, **how)
    assert (usual.window, usual.rows[0].recovery.left_out) == (50, 4)
    assert "their twin ends within 50 steps of the moment" in "\n".join(usual.notes)
    assert (short.window, short.rows[0].recovery.left_out) == (2, 0)
    assert short.to_json()["window"] == 2
    kept = short.kept()
    assert "recovered: 2 steps at 90 %" in _titles(plots.draw(kept))
    del kept["window"]  # as of an earlier build
    assert "recovered: 50 steps at 90 %" in _titles(plots.draw(kept))
    with pytest.raises(InvalidArgument, match="window"):
        adapt([folder], window=0, **how)


def _titles(figure: Figure) -> str:
    return "\n".join(axes.get_legend().get_title().get_text() for axes in figure.axes)


def test_rows_of_groups_perturbations_and_controls(study: Study) -> None:
    told = study.to_json()
    assert {"suite", "task", "episodes", "rows"} <= set(told)
    assert (told["suite"], told["task"], told["episodes"]) == ("perturb", "CartPole-v1", 8)
    names = ("group", "perturbation", "control", "mean", "low", "high", "intact_mean", "retained", "recovered", "recovery_steps")
    assert all(set(names) <= set(row) for row in told["rows"])
    found = [(row["group"], row["perturbation"], row["control"]) for row in told["rows"]]
    controls = ("as evolved", "plasticity off", "frozen")
    texts = ("lesion:weights=1@5", "sensor:*=0@3..9")
    assert found == [
        *(("network=nchl", text, control) for text in texts for control in controls),
        *(("network=static", text, "as evolved") for text in texts),
    ]
    assert len(study.runs["network=nchl"]) == 2
    assert all(np.isfinite([row["mean"], row["intact_mean"]]).all() for row in told["rows"])
    assert [pair.paired for pair in study.pairs] == [True, True, False] * 2
    assert len(study.pairs) == 2 * 3, "two controls, and the other group, of each perturbation"


def test_a_static_network_without_weights_falls(study: Study) -> None:
    row = next(row for row in study.rows if row.group == "network=static" and "lesion" in row.text)
    assert row.mean.value <= 20
    assert row.recovery.share in (0.0, None)


@pytest.mark.slow
def test_the_numbers_do_not_depend_on_workers(runs: Path) -> None:
    how = {"perturb": ["lesion:weights=0.5@5..9", "sensor-noise=0.2@2", "shuffle:weights@4", "attribute:length=x2@3"], "episodes": 6}
    first = json.dumps(adapt([runs / "plastic0"], **how).to_json())  # type: ignore[arg-type]
    for workers in (2, 4):
        assert json.dumps(adapt([runs / "plastic0"], workers=workers, **how).to_json()) == first  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "step"), [("attribute:m=x3@45", 4), ("motor:0=0@45", 5), ("motor:0=0@45 & attribute:m=x3@51", 5)])
def test_with_repeated_actions_study_film_and_page_agree_on_the_moment(text: str, step: int, tmp_path: Path) -> None:
    """An action of ten steps: the body changes at 45, within the action of the network's step 4; a motor with the action of step 5."""
    small: dict[str, Any] = {"hidden": [3], "population": 4, "generations": 1, "simulator": "gymnasium", "action_repeat": 10}
    run("Pendulum-v1", tmp_path / "run", normalise_observations=False, **small)
    found = {each.control: each for each in trials(tmp_path / "run", Asked.of(None, [text], "Pendulum-v1"), episodes=2, seed=3)}
    for each in found.values():
        assert each.moments.tolist() == [step, step]
        np.testing.assert_array_equal(each.perturbed.rewards[:, :step], each.intact.rewards[:, :step])
        assert (each.perturbed.rewards[:, step] != each.intact.rewards[:, step]).all()
    with open_run(tmp_path / "run", 3, draw=False, perturb=[text]) as scene:
        assert scene.moment == step
    assert f"at step {step}." in page_path(tmp_path / "run", text, 3, "best", "p", str)


def test_tables_in_every_form(study: Study) -> None:
    assert "as evolved" in render(study, "text")
    assert render(study, "markdown").splitlines()[1].startswith("| --- |")
    lines = render(study, "csv").splitlines()
    assert len(lines) == 1 + len(study.rows)
    assert lines[0].startswith("group,perturbation,control,mean,low,high,intact_mean,retained")
    with pytest.raises(NchlError, match="did you mean 'markdown'"):
        render(study, "markdwn")


def test_files_and_what_a_runs_folder_keeps(study: Study, runs: Path, tmp_path: Path) -> None:
    kept = study.kept()
    names = {path.name for path in write(study, kept, tmp_path / "out")}
    assert names == {"adaptation.txt", "adaptation.md", "adaptation.csv", "adaptation.json", "adaptation.png"}
    assert json.loads((tmp_path / "out" / "adaptation.json").read_text())["rows"][0]["curve"]["offset"][0] == -5
    assert keep(study, kept) == []
    folder = RunFolder.open(runs / "static")
    path = folder.path / "adaptation-perturb.json"
    assert studies(folder) == [path]
    again = read(folder, path)
    assert again is not None
    assert len(again["rows"]) == len(study.rows)
    path.write_text(path.read_text().replace('"survival"', '"survived"'))
    with pytest.raises(RunError, match="was altered"):
        read(folder, path)
    path.write_text(json.dumps({"individual_sha256": "of another", "which": "best"}))
    assert read(folder, path) is None
    path.write_text(json.dumps({"individual_sha256": "of another", "which": "worst"}))
    with pytest.raises(RunError, match="was altered"):
        read(folder, path)
    earlier = folder.path / "adaptation.json"
    earlier.write_text(json.dumps({**kept, "best_sha256": study.digests[str(folder.path)]}))
    path.unlink()
    assert studies(folder) == [earlier]
    assert read(folder, earlier) is not None, "of an earlier build"
    earlier.unlink()
    assert studies(folder) == []


def test_a_runs_folder_keeps_one_study_of_each_suite(runs: Path) -> None:
    folder = RunFolder.open(runs / "static")
    suites = [Suite(name, "a test", {"a": "sensor:0=0@2"}) for name in ("mine", "../my own", "mine")]
    made = [
        adapt([runs / "static"], suite=suite, episodes=2, which=which)
        for suite, which in zip(suites, ("best", "best", "centre"), strict=True)
    ]
    said = [keep(each, each.kept()) for each in made]
    assert said[:2] == [[], []]
    (line,) = said[2]
    assert "adaptation-mine.json: this study replaces the one that was kept there, of sensor:0=0@2 (best individual)" in line
    assert keep(made[2], made[2].kept()) == [], "the same study again"
    found = studies(folder)
    told = [read(folder, path) for path in found]
    assert {(each["suite"], each["which"]) for each in told if each is not None} == {("mine", "centre"), ("../my own", "best")}
    assert len(found) == 2
    assert {path.parent for path in found} == {folder.path}
    centre = next(path for path in found if path.name == "adaptation-mine.json")
    saved = folder.centre.read_bytes()
    folder.centre.write_bytes(saved + b" ")
    assert read(folder, centre) is None, "the centre is another one now"
    folder.centre.write_bytes(saved)
    page = Path(document.write(folder.path, episodes=0, film=False, microscope=False)["report"]).read_text()
    assert page.count("What <code>nchl adapt</code> has measured of the centre of the search") == 1
    assert page.count("What <code>nchl adapt</code> has measured of the best individual") == 1
    assert page.count('id="adaptation-1-recovery-0-') >= 1
    for path in found:
        path.unlink()


def test_an_individual_that_is_replaced_while_it_plays_is_played_again(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = RunFolder(shutil.copytree(runs / "static", tmp_path / "run"))
    first, second = folder.best.read_bytes(), (runs / "plastic0" / "centre.safetensors").read_bytes()
    played: list[bytes] = []
    replaced = iter([second, first, second])

    def playing(run: Path, *arguments: object, **how: object) -> list[Trial]:
        played.append(folder.best.read_bytes())
        found = trials_in_processes(runs / "static", *arguments, **how)  # type: ignore[arg-type]
        folder.best.write_bytes(next(replaced, folder.best.read_bytes()))
        return found

    monkeypatch.setattr("nchl.report.adaptation.study.trials_in_processes", playing)
    with pytest.raises(RunError, match=r"was replaced while it played, 3 times; wait until the run has ended"):
        adapt([folder.path], perturb=["sensor:0=0@2"], episodes=2)
    study = adapt([folder.path], perturb=["sensor:0=0@2"], episodes=2)
    assert played == [first, second, first, second]
    assert study.digests == {str(folder.path): hashlib.sha256(second).hexdigest()}


def test_pictures(study: Study, tmp_path: Path) -> None:
    first, second = (plots.save(study.kept(), tmp_path / name / "figure") for name in "ab")
    assert [path.suffix for path in first] == [".png", ".svg"]
    assert first[1].read_bytes() == second[1].read_bytes(), "equal studies give equal files"
    with pytest.raises(NchlError, match=r"not as \.gif"):
        plots.save(study.kept(), tmp_path / "figure.gif")


@pytest.mark.parametrize(("width", "columns"), [(5.5, 2), (3.3, 1)])
def test_a_figure_for_a_paper_has_its_width_and_one_legend(width: float, columns: int, study: Study, tmp_path: Path) -> None:
    few = _row("a", [trial(np.ones((7, 300)), np.ones((7, 300)), [100] * 4 + [280] * 3)], 0).to_json()
    kept = study.kept()
    kept["rows"] = [*kept["rows"], {**kept["rows"][0], **few, "perturbation": "a perturbation with a name that is longer than its panel"}]
    figure = plots.draw(kept, width)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == width
    assert figure.get_suptitle() == ""
    assert len({round(axes.get_position().x0, 2) for axes in figure.axes}) == columns
    assert all(axes.get_legend() is None for axes in figure.axes)
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(set(shown)) == len(shown)
    assert "no curve" not in "".join(shown)
    assert figure.axes[-1].get_title().endswith("as evolved: 4 judged, no curve")
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == [False] * (len(figure.axes) - columns) + [True] * columns
    for box in [legend.get_window_extent(), *(axes.get_tightbbox() for axes in figure.axes)]:
        assert box is not None
        assert figure.bbox.x0 - 1 <= box.x0 < box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 - 1 <= box.y0 < box.y1 <= figure.bbox.y1 + 1
    (pdf,) = plots.save(kept, tmp_path / "figure.pdf", width)
    assert b"/FontFile2" in pdf.read_bytes()


@pytest.mark.parametrize(
    ("runs_of", "title"),
    [
        ({"nchl": ["zoo:cartpole-nchl"]}, "CartPole-v1, zoo:cartpole-nchl: perturb, 8 episodes each"),
        ({"nchl": ["runs/first/"]}, "CartPole-v1, first: perturb, 8 episodes each"),
        ({"nchl": ["runs/a", "runs/b"]}, "CartPole-v1, nchl: perturb, 8 episodes each"),
        ({"nchl": ["runs/a"], "hl": ["runs/b"]}, "CartPole-v1: perturb, 8 episodes each"),
    ],
)
def test_the_title_of_the_figure_names_a_single_individual_or_group(runs_of: dict[str, list[str]], title: str, study: Study) -> None:
    figure = plots.draw({**study.kept(), "runs": runs_of})
    assert figure.get_suptitle() == title


def test_a_share_stands_beside_the_number_of_judged_episodes(study: Study) -> None:
    made = _row("a", [trial(np.ones((7, 300)), np.ones((7, 300)), [100] * 4 + [280] * 3)], 0)
    few = replace(study, rows=(made,), pairs=())
    assert made.to_json()["judged"] == 4
    assert "100 % of 4" in render(few, "text")
    axes = Figure().subplots()
    plots.recovery(axes, few.kept()["rows"], 50)
    assert [len(line.get_xdata()) for line in axes.lines] == [0], "four episodes make no curve"
    assert axes.lines[0].get_label() == "as evolved: 4 judged, no curve"
    enough = replace(few, rows=(_row("a", [trial(np.ones((5, 300)), np.ones((5, 300)), [100] * 5)], 0),))
    axes = Figure().subplots()
    plots.recovery(axes, enough.kept()["rows"], 50)
    assert len(axes.lines[0].get_xdata()) > 1


def test_notes_count_the_episodes_of_all_rows() -> None:
    made = trial(np.ones((3, 100)), np.ones((3, 100)), [51, 60, 20])
    made.perturbed.returns[2] = np.nan
    rows = [_row("a", [made], 0), _row("b", [made], 0)]
    notes = _caveats([], rows)
    assert notes[0].startswith("4 of the 6 episodes of all rows are not judged for recovery")
    assert notes[1].startswith("2 of the 6 episodes of all rows, or their twins, were not finite")


def test_an_episode_that_was_not_finite_is_in_no_figure_and_has_not_recovered() -> None:
    rewards, twin = np.full((4, 300), 0.5), np.ones((4, 300))
    made = trial(rewards, twin, [100] * 4)
    sound = _row("a", [made], 0)
    # Episode 4 diverges, and so does the twin of episode 5; rewards from there on are kept as 0.
    rewards, twin = (np.concatenate([each, np.full((2, 300), 0.5)]) for each in (rewards, twin))
    rewards[4, 110:], twin[5, 110:] = 0, 0
    worse = trial(rewards, twin, [100] * 6, [300] * 4 + [110, 300])
    worse.perturbed.returns[4] = worse.intact.returns[5] = np.nan
    found = recovery([worse])
    assert (found.episodes, found.left_out) == ((0, 1, 2, 3, 4), 1), "without its twin an episode cannot be judged"
    assert found.recovered.tolist() == [False] * 5
    row = _row("a", [worse], 0)
    assert (row.before, row.after, row.late, row.curve) == (sound.before, sound.after, sound.late, sound.curve)
    assert (row.mean, row.intact, row.non_finite) == (sound.mean, sound.intact, 2)
    whole, none = (trial(np.full((6, 300), level), np.ones((6, 300)), [100] * 6) for level in (0.9, 0.1))
    none.perturbed.returns[:] = np.nan
    assert _row("a", [whole, worse, none], 0).curve == _row("a", [whole, worse], 0).curve, "a run without a finite episode"


def test_a_share_of_twins_near_0_has_no_interval() -> None:
    twin = np.repeat(np.array([[2.0], [-1.5], [1.0]]), 100, axis=1)
    row = _row("a", [trial(twin * 0.5, twin, [40] * 3)], 0)
    assert row.retained is not None
    assert row.retained.value == pytest.approx(0.5)
    assert np.isnan([row.retained.low, row.retained.high]).all(), "some resampled means of the twins are below 0"
    assert [note for note in _caveats([], [row]) if "has no interval" in note]
    sound = _row("a", [trial(np.abs(twin) * 0.5, np.abs(twin), [40] * 3)], 0)
    assert sound.retained is not None
    assert sound.retained[1:] == pytest.approx((0.5, 0.5))
    assert not [note for note in _caveats([], [sound]) if "has no interval" in note]


def test_frozen_from_the_start_is_plasticity_off(runs: Path) -> None:
    study = adapt([runs / "plastic0"], perturb=["sensor:0=0", "sensor:1=0@2"], episodes=3)
    found = [(row.perturbation, row.control) for row in study.rows]
    controls = ("as evolved", "plasticity off", "frozen")
    assert found == [*(("sensor:0=0", control) for control in controls[:2]), *(("sensor:1=0@2", control) for control in controls)]
    assert len(study.pairs) == 1 + 2
    assert [note for note in study.notes if "from the start (sensor:0=0)" in note]


def test_a_suite_of_your_own(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "source: a test\nperturbations:\n  both: [sensor:0=0@2, lesion:weights=0.5@3]\n  late: sensor-delay=2\n"
    )
    study = adapt([runs / "static"], suite=str(tmp_path / "own.yaml"), episodes=3)
    assert (study.suite, study.source) == ("own.yaml", "a test")
    assert [(row.perturbation, row.text) for row in study.rows] == [
        ("both", "sensor:0=0@2 & lesion:weights=0.5@3"),
        ("late", "sensor-delay=2"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("perturbations: {a: motr:0=0}", "own.yaml: a: unknown perturbation 'motr': did you mean 'motor'"),
        ("perturbation: {a: none}", "did you mean 'perturbations'"),
        ("perturbations: [a]", "must name some"),
        ("perturbations: {a: sensor:0=0, b: none}", "own.yaml: b: it changes nothing"),
        ("perturbations: {b: []}", "own.yaml: b: it changes nothing"),
        ("task: Ant-*\nperturbations: {a: sensor:0=0}", "is for Ant-\\*, not for CartPole-v1"),
        ("perturbations: {a: sensor:0=0}\ntraining: none", "must be a list"),
    ],
)
def test_a_bad_suite(text: str, said: str, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InvalidArgument, match=said):
        adapt([runs / "static"], suite=str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "needs perturbations"),
        ({"suite": "lesoins"}, "did you mean 'lesions'"),
        ({"suite": "ant-legs"}, "is for Ant-\\*"),
        ({"perturb": ["none"]}, "it changes nothing"),
        ({"suite": Suite("own", "a test", {"a": "none"})}, "'a': it changes nothing"),
        ({"perturb": ["sensor:0=0", "sensor:0=0"]}, "given twice"),
        ({"perturb": ["sensor:4=0"]}, "there is no sensor 4"),
        ({"perturb": ["motor:0=0"]}, "takes choices"),
        ({"perturb": ["limb:leg=x2"]}, "no bodies"),
        ({"perturb": ["attribute:lenght=x2"]}, "did you mean 'length'"),
        ({"perturb": ["sensor:0=0@500"]}, "an episode has 500 steps"),
        ({"perturb": ["push:pole=3N@5+1"], "simulator": "envpool"}, "EnvPool cannot play"),
        ({"perturb": ["sensor:0=0"], "which": "worst"}, "best, centre"),
    ],
)
def test_bad_input(how: dict[str, object], said: str, runs: Path) -> None:
    with pytest.raises(NchlError, match=said):
        adapt([runs / "static"], **how)  # type: ignore[arg-type]
