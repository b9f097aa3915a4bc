"""Studies: the pages' tables are those of the committed cells; a study that is stopped goes on elsewhere with the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("yaml")
pytest.importorskip("scipy")

import nchl
from nchl.report.compare.runs import read_run
from nchl.runs.sweep.grid import read_sweep
from reference.pages import ROOT

sys.path.insert(0, str(ROOT / "studies"))  # as `python studies/study.py` has it
import softhebb_runs
import study
import study_cells
import study_folder
import study_page
import study_runs

NAMES = sorted(path.parent.name for path in (ROOT / "studies").glob("*/study.yaml"))
COMMIT = "0" * 40


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_of_a_page_are_those_of_the_committed_cells(name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    text = page.read_text()
    assert study_page.written(study_folder.read_study(name), text) == text, f"write them anew: python studies/study.py page {name}"
    assert f"studies/study.py run {name}" in text
    assert study_folder.read_study(name).commit[:7] in text
    assert page.name in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_committed_cells_are_those_of_the_sweeps_made_with_the_commit_and_small(name: str) -> None:
    about = study_folder.read_study(name)
    for kind in ("cells", "unfinished"):
        for folder in (about.folder / kind).glob("*/*"):
            assert folder.name in about.cell_names(folder.parent.name), f"{folder} is none of the sweep's cells"
            sessions = json.loads((folder / "config.json").read_text())["sessions"]
            assert {session["commit"] for session in sessions} == {about.commit}
            assert sum(file.stat().st_size for file in folder.rglob("*")) < 1_000_000
            names = {file.name for file in folder.iterdir()}
            assert names <= {*study_folder.KEPT, *about.afterwards, "checkpoints"}
            assert ("summary.json" in names) == (kind == "cells")


def small(folder: Path, generations: int = 2, steps: str = "[main]", **more: str) -> object:
    """A study of CartPole with two seeds in `folder/studies/small`."""
    place = folder / "studies" / "small"
    place.mkdir(parents=True)
    lines = [f"commit: '{COMMIT}'", "packages: []", f"steps: {steps}", *(f"{name}: {value}" for name, value in more.items())]
    (place / "study.yaml").write_text("\n".join(lines))
    sweep = "task: CartPole-v1\nsimulator: gymnasium\nhidden: [3]\npopulation: 4\nmax_episode_steps: {most}\ngenerations: {n}\n"
    sweep += "grid: {{optimizer: [adam]}}\nseeds: 2\n"
    (place / "main.yaml").write_text(sweep.format(n=generations, most=20))
    (place / "long.yaml").write_text(sweep.format(n=generations + 2, most=20))
    (place / "page.py").write_text("def tables(study):\n    return {'count': str(len(study.cells('main')))}\n")
    (folder / "docs").mkdir()
    return study_folder.read_study("small", folder)


def program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `nchl` as it is tested here, said to be of the study's commit."""
    folder.mkdir()
    (folder / "nchl").write_text(f'#!/bin/sh\nPYTHONPATH="{Path(nchl.__file__).parents[1]}" exec "{sys.executable}" -m nchl "$@"\n')
    (folder / "nchl").chmod(0o755)
    made_with = study_cells.foreign
    monkeypatch.setattr(study_cells, "foreign", lambda run, commit: made_with(run, commit) and set())
    return folder


def cell(folder: Path, *, commit: str = COMMIT, dirty: bool = False, ended: bool = True) -> Path:
    """What a run leaves, as far as `study.py` looks at it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"sessions": [{"commit": commit, "dirty": dirty}]}))
    for number in (3, 4):
        (folder / "checkpoints" / f"generation-{number:06}.safetensors").write_bytes(b"x" * number)
    (folder / "metrics.csv").write_text("generation\n")
    (folder / "events").write_text("large")
    if ended:
        (folder / "summary.json").write_text("{}")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_study_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    about = small(tmp_path)
    with pytest.raises(study_folder.StudyError, match="the studies are small"):
        study_folder.read_study("smal", tmp_path)
    for text, message in [
        ("commit: x\npackages: []\nstep: [main]", "expected commit, packages, steps"),
        ("commit: x\npackages: []\nsteps: [mian]", "no sweep mian.yaml"),
        ("commit: x\npackages: []\nsteps: [main]\nafterwards: {evaluation: true}", "such as `evaluation: evaluate --controls`"),
    ]:
        (about.folder / "study.yaml").write_text(text)
        with pytest.raises(study_folder.StudyError, match=message):
            study_folder.read_study("small", tmp_path)


def test_finished_cells_are_kept_without_what_is_large_and_only_of_the_commit(tmp_path: Path) -> None:
    about, work = small(tmp_path), tmp_path / "work"
    cell(work / "main" / "optimizer-adam_seed-0")
    cell(work / "main" / "optimizer-adam_seed-1", ended=False)
    assert study_cells.keep_finished(about, "main", work) == ["optimizer-adam_seed-0"]
    assert study_cells.keep_finished(about, "main", work) == []
    assert files(about.folder / "cells") == [
        f"main/optimizer-adam_seed-0/{name}" for name in ("config.json", "metrics.csv", "summary.json")
    ]
    assert about.missing() == {"main": ["optimizer-adam_seed-1"]}
    for wrong in ({"commit": "f" * 40}, {"dirty": True}):
        shutil.rmtree(work)
        cell(work / "main" / "optimizer-adam_seed-1", **wrong)
        with pytest.raises(study_folder.StudyError, match="not with the study's commit"):
            study_cells.keep_finished(about, "main", work)


def test_unfinished_cells_travel_with_their_newest_checkpoint_and_leave_when_they_are_done(tmp_path: Path) -> None:
    about = small(tmp_path)
    run = cell(tmp_path / "work" / "main" / "optimizer-adam_seed-1", ended=False)
    study_cells.keep_unfinished(about, "main", tmp_path / "work")
    kept = about.folder / "unfinished" / "main" / run.name
    assert files(kept) == ["checkpoints/generation-000004.safetensors", "config.json", "metrics.csv"]
    study_cells.bring(about, "main", tmp_path / "elsewhere")
    assert files(tmp_path / "elsewhere" / "main" / run.name) == files(kept)
    (run / "summary.json").write_text("{}")
    study_cells.keep_finished(about, "main", tmp_path / "work")
    assert not kept.exists()
    large = cell(tmp_path / "work" / "main" / "optimizer-adam_seed-0", ended=False)
    (large / "checkpoints" / "generation-000005.safetensors").write_bytes(bytes(study_cells.LARGEST_CHECKPOINT + 1))
    study_cells.keep_unfinished(about, "main", tmp_path / "work")
    assert not (about.folder / "unfinished" / "main" / large.name).exists()


def test_a_longer_sweep_goes_on_with_the_cells_of_the_shorter_one(tmp_path: Path) -> None:
    about = small(tmp_path, steps="[main, long]", continues="{long: main}")
    run = cell(tmp_path / "work" / "main" / "optimizer-adam_seed-0")
    study_cells.keep_finished(about, "main", tmp_path / "work")
    assert "checkpoints/generation-000004.safetensors" in files(about.folder / "cells" / "main" / run.name)
    for work in (tmp_path / "work", tmp_path / "elsewhere"):
        study_cells.bring(about, "long", work)
        assert "checkpoints/generation-000004.safetensors" in files(work / "long" / run.name)
    plain = small(tmp_path / "other")  # nothing goes on with these
    study_cells.copy_cell(run, plain.folder / "cells" / "main" / run.name, checkpoint=False)
    study_cells.bring(plain, "main", tmp_path / "third")
    assert "summary.json" in files(tmp_path / "third" / "main" / run.name)


def test_what_is_run_sees_no_other_nchl_and_ends_with_a_look_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_runs, "LOOK_SECONDS", 0.1)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    told = tmp_path / "told"
    assert study_runs.watched(["sh", "-c", f'echo "path:$PYTHONPATH" > {told}; exit 3'], lambda: None) == 3
    assert told.read_text() == "path:\n"

    def fail() -> None:
        raise study_folder.StudyError("a foreign cell")

    with pytest.raises(study_folder.StudyError, match="foreign"):
        study_runs.watched(["sh", "-c", f"trap 'echo ended > {told}; exit 0' TERM; while true; do sleep 0.05; done"], fail)
    assert told.read_text() == "ended\n"


def test_the_first_seeds_of_a_sweep(tmp_path: Path) -> None:
    about = small(tmp_path)
    with study_runs.first_seeds(about.file("main"), 1) as part:
        assert part.parent == about.folder
        assert 'seeds": [0]' in part.read_text()
    assert not part.exists()
    with study_runs.first_seeds(about.file("main"), None) as whole:
        assert whole == about.file("main")


@pytest.mark.parametrize(("words", "wanted"), [([], ["ant: 1", "ant: 2", "ant: None"]), (["--steps", "2"], ["ant: 1", "ant: 2"])])
def test_only_the_first_steps(words: list[str], wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(study, "run", lambda about, *_: begun.extend(f"{step.sweep}: {step.seeds}" for step in about.steps))
    study.main(["run", "legs", "--programs", "bin", "--work", str(tmp_path), *words])
    assert begun == wanted


def test_a_number_of_steps_below_1_is_refused() -> None:
    with pytest.raises(SystemExit):
        study.main(["run", "legs", "--steps", "0"])


def test_a_page_has_a_place_for_each_table_and_says_that_it_is_partial(tmp_path: Path) -> None:
    about = small(tmp_path)
    text = "# Page\n<!-- table progress -->\n<!-- /table -->\nwords\n<!-- table count -->\nold\n<!-- /table -->\nend\n"
    found = study_page.written(about, text)
    assert "This page is partial: 2 cells" in found
    assert "<!-- table count -->\n0\n<!-- /table -->\nend" in found
    assert study_page.written(about, found) == found
    for name in about.cell_names("main"):
        cell(about.folder / "cells" / "main" / name)
    assert "All cells are there" in study_page.written(about, found)
    with pytest.raises(study_folder.StudyError, match="has places for"):
        study_page.written(about, text.replace("table count", "table cuont"))


def test_a_shorter_run_that_was_brought_is_kept_once_it_has_gone_on(tmp_path: Path) -> None:
    about = small(tmp_path, steps="[main, long]", continues="{long: main}")
    name = about.cell_names("main")[0]
    for sweep in ("main", "long"):
        cell(tmp_path / "work" / sweep / name)
    assert study_cells.keep_finished(about, "main", tmp_path / "work") == [name]
    assert study_cells.keep_finished(about, "long", tmp_path / "work") == []
    (tmp_path / "work" / "long" / name / "summary.json").write_text('{"generations": 4}')
    assert study_cells.keep_finished(about, "long", tmp_path / "work") == [name]
    assert study_cells.keep_finished(about, "long", tmp_path / "work") == []


@pytest.mark.slow
def test_a_study_that_is_stopped_goes_on_elsewhere_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_runs, "LOOK_SECONDS", 0.2)
    programs = program(tmp_path / "bin", monkeypatch)
    more = {"steps": "[{main: 1}, {long: 1}]", "continues": "{long: main}"}
    whole = small(tmp_path / "whole", 30, **more, afterwards="{evaluation: evaluate --controls}")
    stopped = small(tmp_path / "stopped", 30, **more)
    assert study_runs.run(whole, tmp_path / "work-whole", programs, 1) == 0
    assert whole.missing() == {sweep: ["optimizer-adam_seed-1"] for sweep in ("main", "long")}

    work = tmp_path / "work-stopped"
    first = work / "main" / "optimizer-adam_seed-0" / "metrics.csv"

    def stop() -> None:
        while not (first.exists() and first.read_text().count("\n") > 3):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert study_runs.run(stopped, work, programs, 1) == 143
    thread.join()
    assert stopped.cells("main") == []
    assert files(stopped.folder / "unfinished")
    shutil.rmtree(work)
    assert study_runs.run(stopped, tmp_path / "work-elsewhere", programs, 2) == 0
    assert stopped.missing() == whole.missing()
    assert not files(stopped.folder / "unfinished")
    for sweep in ("main", "long"):
        for one, other in zip(whole.cells(sweep), stopped.cells(sweep), strict=True):
            for name in ("best.safetensors", "centre.safetensors"):
                assert (one / name).read_bytes() == (other / name).read_bytes()
        assert {"plasticity_off", "frozen_half_way"} <= set(json.loads((one / "evaluation.json").read_text()))
        assert read_run(one).evaluation["episodes"] == 100


@pytest.mark.slow
def test_a_network_without_a_rule_plays_without_controls_and_a_command_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = program(tmp_path / "bin", monkeypatch)
    options = {"simulator": "gymnasium", "population": 4, "generations": 1, "max_episode_steps": 20}
    nchl.run("CartPole-v1", out=tmp_path / "run", network="static", hidden=[3], **options)
    study_cells.play(tmp_path / "run", programs, "evaluation.json", ["evaluate", "--controls", "--episodes", "3"])
    about = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert about["episodes"] == 3
    assert "plasticity_off" not in about
    with pytest.raises(study_folder.StudyError, match="--episodes"):
        study_cells.play(tmp_path / "run", programs, "evaluation.json", ["evaluate", "--episodes", "many"])


def test_a_file_of_softhebb_runs_names_a_run_for_each_method_and_seed(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text("softhebb:\n  small: --epochs-head 1\n  layerwise: --layerwise\nseeds: [3, 5]\n")
    assert softhebb_runs.read_runs(file) == {
        "small_seed-3": ["--epochs-head", "1", "--seed", "3"],
        "small_seed-5": ["--epochs-head", "1", "--seed", "5"],
        "layerwise_seed-3": ["--layerwise", "--seed", "3"],
        "layerwise_seed-5": ["--layerwise", "--seed", "5"],
    }
    for text in ("softhebb:\n  small: {epochs_head: 1}\n", "softhebb:\n  small: --layerwise\ngrid: {}\n"):
        file.write_text(text)
        with pytest.raises(ValueError, match="a line of options for each name"):
            softhebb_runs.read_runs(file)
    file.write_text("task: CartPole-v1\n")
    assert softhebb_runs.read_runs(file) is None


@pytest.mark.slow
def test_a_study_of_softhebb_that_is_stopped_goes_on_and_has_all_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    from reference.images import cifar_like

    monkeypatch.setattr(study_runs, "LOOK_SECONDS", 0.2)
    programs = program(tmp_path / "bin", monkeypatch)
    folder = tmp_path / "studies" / "cifar10"
    shutil.copytree(ROOT / "studies" / "cifar10", folder, ignore=shutil.ignore_patterns("cells", "unfinished"))
    options = "--network softhebb-small --epochs-head 3 --threads 1"
    methods = f"softhebb:\n  together: {options}\n  layerwise: {options} --layerwise\n  random: {options} --random\nseeds: 1\n"
    (folder / "small.yaml").write_text(methods)
    (folder / "study.yaml").write_text(f"commit: '{COMMIT}'\npackages: []\nsteps: [small]\n")
    about = study_folder.read_study("cifar10", tmp_path)
    with pytest.raises(study_folder.StudyError, match="--data DATA"):
        study_runs.run(about, tmp_path / "work", programs, 1)
    images, work = str(cifar_like(tmp_path / "images")), tmp_path / "work"

    def stop() -> None:
        while not (work / "small" / "together_seed-0" / "config.json").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert study_runs.run(about, work, programs, 1, images) == 143
    thread.join()
    assert about.cells("small") == []
    assert study_runs.run(about, work, programs, 1, images) == 0
    assert about.missing() == {}
    assert {file.split("/")[-1] for file in files(about.folder / "cells")} == {"config.json", "metrics.csv", "summary.json"}
    tables = study_page.page_of(about).tables(about)
    assert [row.split(" | ")[1] for row in tables["accuracies"].splitlines()[2:]] == ["layerwise", "random", "together"]
    assert tables["layerwise"].splitlines()[2].startswith("| small | 1 |")


@pytest.mark.slow
def test_a_retained_share_has_fiellers_interval_and_is_left_out_of_twins_near_0() -> None:
    page = study_page.page_of(study_folder.read_study("recovery"))
    stats = pytest.importorskip("scipy.stats")
    mine, twins = np.array([1536.0, 1567.0, 1947.0]), np.array([2002.0, 2059.0, 2540.0])
    value, low, high = page.share(mine, twins)
    assert value == pytest.approx(mine.mean() / twins.mean())
    assert low < value < high
    for end in (low, high):  # there 0 is an end of the interval of the difference
        assert stats.ttest_1samp(mine - end * twins, 0).pvalue == pytest.approx(0.05)
    for few in ([360.0, 146.0, 24.0], [-1.0, -2.0, -3.0]):
        assert stats.ttest_1samp(few, 0).confidence_interval().low < 0
        assert page.retained(mine, np.array(few)) == "-"
    assert page.retained(mine[:1], twins[:1]) == "-"


def test_the_page_of_a_failing_motor_takes_quotients_of_means_and_the_difference_of_the_worths() -> None:
    page = study_page.page_of(study_folder.read_study("recovery"))
    twins = np.array([[1000.0], [3000.0], [2000.0]])
    motors = np.array([[100.0], [2400.0], [1100.0]])
    of = {"as evolved": motors[:, 0], "frozen": motors[:, 0] - [50, 60, 70], "plasticity off": np.zeros(3)}
    intact = {"as evolved": twins[:, 0], "frozen": twins[:, 0] - [250, 280, 310], "plasticity off": np.zeros(3)}
    plastic = page.Played("HL 16", "intact", of, intact, {"as evolved": np.ones(3)}, motors, twins, ("back foot",))
    weak = page.Played("static 80", "intact", {"as evolved": of["as evolved"]}, intact, of, motors, twins - 1900, ("back foot",))
    controls = page.controls([plastic]).splitlines()
    assert "worth intact minus after a failure" in controls[0]
    assert r"+220 \[+170, +270\]" in controls[2]
    firm = page.Played("NcHL 16", "intact", of, intact, of, motors, twins + 3000, ("back foot",))
    rows = page.motors([firm, weak]).splitlines()[2:]
    assert rows[0] == "| NcHL 16 | intact | 24 % |", "1200 by 5000; the mean of the quotients is 21.5 %"
    assert rows[1] == "| static 80 | intact | - |"
    assert rows[2].startswith("| all plastic | both | 24 % ")


def test_the_page_of_the_search_has_all_its_tables_once_all_cells_are_there(tmp_path: Path) -> None:
    """With made-up metrics: what the page's script does with sweeps that have not been run yet."""
    pytest.importorskip("matplotlib")
    about = study_folder.read_study("search")
    shutil.copytree(about.folder, tmp_path / "studies" / "search", ignore=shutil.ignore_patterns("cells", "unfinished"))
    record = json.loads((about.cells("tuning")[0] / "config.json").read_text())
    made_up = study_folder.read_study("search", tmp_path)
    for sweep in made_up.sweeps:
        for each in read_sweep(made_up.file(sweep)):
            folder = cell(made_up.folder / "cells" / sweep / each.name)
            (folder / "config.json").write_text(json.dumps({**record, "settings": each.config.to_json()}))
            solved = each.config.strategy == "openai-es"
            summary = {"reason": "target" if solved and sweep == "cartpole" else "max_steps"}
            (folder / "summary.json").write_text(json.dumps(summary))
            rng, most = np.random.default_rng(len(each.name) + each.config.seed), each.config.max_steps or 500_000
            rows = [f"{k},{200 * k},{most // 5 * k},{k + rng.normal()},{k + rng.normal()},{k},0.01" for k in range(1, 6)]
            head = "generation,evaluations,env_steps,mean,validation_centre,best_so_far,search_seconds"
            (folder / "metrics.csv").write_text("\n".join([head, *rows]) + "\n")
    page = study_page.page_of(made_up)
    tables = page.tables(made_up)
    assert not [name for name, table in tables.items() if page.NOTHING in table]
    assert {name: table.count("pgpe clipup") > 0 for name, table in tables.items()} == dict.fromkeys(tables, True)
    assert tables["cartpole"].count("| 10/10 | 1,000 |") == 3
    assert tables["cartpole"].count("| 0/10 | not solved |") == 3
    assert tables["halfcheetah-long"].count("/5)") == 3
    assert "pgpe clipup" in tables["overall"]
    shutil.rmtree(made_up.cells("hopper")[0])
    assert page.tables(made_up)["overall"] == page.WAITS
    page.pictures(made_up, tmp_path)
    assert (tmp_path / "search-halfcheetah.png").stat().st_size > 10_000
