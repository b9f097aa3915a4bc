"""`nchl compare` and `nchl sweep` as a user types them, with real tiny runs, and the mistakes that can be made."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest

import nchl
from nchl.cli import main

pytest.importorskip("gymnasium")
pytest.importorskip("scipy")
pytest.importorskip("yaml")

from reference.comparison import write_run
from reference.runs import results

SMALL = ("CartPole-v1", "--hidden", "3", "--population", "8", "--generations", "2")
SWEEP = "task: CartPole-v1\nhidden: [3]\npopulation: 8\ngenerations: 2\ngrid: {network: [nchl, static]}\nseeds: 2\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four real runs with the names that a sweep gives them."""
    folder = tmp_path_factory.mktemp("compare")
    for network in ("nchl", "static"):
        for seed in ("0", "1"):
            out = folder / f"network-{network}_seed-{seed}"
            assert main(["evolve", *SMALL, "--network", network, "--seed", seed, "--out", str(out)]) == 0
    return folder


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(
    ("table", "explained"),
    [
        ("groups", {"IQM:", "95 %:", "target:", "evaluations and steps to it:"}),
        ("pairs", {"95 %:", "P(improvement):", "p:"}),
        ("runs", set()),
    ],
)
def test_only_columns_that_are_shown_are_explained(table: str, explained: set[str], runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compare", str(runs), "--table", table]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = ("IQM:", "95 %:", "target:", "evaluations and steps to it:", "P(improvement):", "p:")
    assert {start for start in starts if any(line.startswith(start) for line in lines)} == explained
    assert any("no corrected p-value" in line for line in lines) is (table == "pairs")


def test_the_main_job(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    capsys.readouterr()
    assert main(["compare", str(runs), "--figure", str(tmp_path / "figure.svg")]) == 0
    said = capsys.readouterr().out
    for words in (
        "CartPole-v1: mean fitness of the last generation",
        "network=nchl",
        "network=static",
        "warning: fewer than 5 runs",
        "hidden=3",
    ):
        assert words in said
    assert (tmp_path / "figure.svg").stat().st_size > 10_000
    assert [file.name for file in tmp_path.iterdir()] == ["figure.svg"]


def test_unseen_episodes_are_played_once(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(runs), "--evaluate", "--episodes", "4", "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["score"] == "evaluation"
    assert "4 unseen episodes" in result["score_text"]
    assert said.err.count("playing 4 unseen episodes") == 4
    kept = json.loads((runs / "network-nchl_seed-1" / "evaluation.json").read_text())
    scores = {run["folder"]: run["score"] for group in result["groups"] for run in group["runs"]}
    assert scores[str(runs / "network-nchl_seed-1")] == kept["mean"]
    assert {group["name"]: group["nparams"] for group in result["groups"]} == {"network=nchl": 39, "network=static": 18}

    # An equal question is answered from what was kept, with the same words; another individual plays anew.
    assert main(["compare", str(runs), "--evaluate", "--episodes", "4", "--json"]) == 0
    again = capsys.readouterr()
    assert again.out == said.out
    assert again.err == ""
    best = runs / "network-nchl_seed-1" / "best.safetensors"
    content = best.read_bytes()
    try:
        best.write_bytes((runs / "network-nchl_seed-0" / "best.safetensors").read_bytes())
        assert main(["compare", str(runs), "--evaluate", "--episodes", "4", "--csv", "--table", "runs"]) == 0
        said = capsys.readouterr()
        assert said.err.count("playing") == 1
        rows = list(csv.DictReader(io.StringIO(said.out)))
        assert [row["group"] for row in rows] == ["network=nchl"] * 2 + ["network=static"] * 2
        assert float(rows[0]["score"]) == float(rows[1]["score"])
    finally:
        best.write_bytes(content)


def test_runs_trained_under_perturbations_are_compared_on_intact_episodes(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, intact = tmp_path / "broken", Path(shutil.copytree(runs / "network-nchl_seed-0", tmp_path / "intact"))
    assert main(["evolve", *SMALL, "--perturb", "sensor:*=-1", "--out", str(broken)]) == 0

    def compared(*words: str) -> tuple[dict[str, float], list[str], str]:
        """Scores by folder, the folders that were played, the description of the score."""
        capsys.readouterr()
        assert main(["compare", str(intact), str(broken), "--evaluate", "--episodes", "3", *words, "--json"]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)
        scores = {run["folder"]: run["score"] for group in found["groups"] for run in group["runs"]}
        return scores, re.findall(r"best individual of (\S+)", said.err), found["score_text"]

    as_trained, played, text = compared()
    assert set(played) == {str(intact), str(broken)}
    assert "perturb" not in text
    # Only the one whose episodes become others plays again, and back.
    scores, played, text = compared("--perturb", "none")
    assert (played, text[-23:]) == ([str(broken)], ", without perturbations")
    assert json.loads((broken / "evaluation.json").read_text())["perturbations"] == []
    assert scores[str(broken)] == nchl.evaluate(broken, episodes=3, perturb="none")["mean"]
    assert scores[str(intact)] == as_trained[str(intact)]
    assert compared("--perturb", "none") == (scores, [], text)
    assert compared()[:2] == (as_trained, [str(broken)])
    assert "unknown" in refused(capsys, "compare", str(intact), "--evaluate", "--perturb", "senor:0=0")


@pytest.mark.parametrize("form", ["--markdown", "--latex", "--csv"])
def test_tables_go_to_stdout_and_warnings_do_not(form: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compare", str(runs), "--score", "mean", form]) == 0
    said = capsys.readouterr()
    assert "network=nchl" in said.out
    assert "warning" not in said.out
    assert "warning: fewer than 5 runs" in said.err
    assert ("note: with so few runs no corrected p-value" in said.err) == (form != "--csv"), "which shows no pairs"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required"),
        (("nowhere",), "no folder nowhere"),
        (("RUNS", "--score", "maen"), "did you mean 'mean'"),
        (("RUNS", "--score", "validation"), "--validation-episodes"),
        (("RUNS", "--baseline", "network=static2"), "did you mean 'network=static'"),
        (("RUNS", "--episodes", "3"), "only applies to --evaluate"),
        (("RUNS", "--perturb", "none"), "only applies to --evaluate"),
        (("RUNS", "--evaluate", "--score", "mean"), "leave one of the two out"),
        (("RUNS", "--evaluate", "--episodes", "0"), "at least 1"),
        (("RUNS", "--target", "nan"), "finite"),
        (("RUNS", "--seed", "-1"), "at least 0"),
        (("RUNS", "--csv", "--latex"), "not allowed"),
        (("RUNS", "--json", "--table", "runs"), "--table does not apply to --json"),
        (("RUNS", "--table", "pears"), "did you mean 'pairs'"),
        (("RUNS", "--figure-width", "3"), "only applies to --figure"),
        (("RUNS", "--figure", "figure.jpg"), "as .pdf, .svg, .png, not as .jpg"),
        (("RUNS", "--bootstraps", "3"), "unknown option"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, "compare", *(str(runs) if word == "RUNS" else word for word in words))


def test_labels_are_the_names_of_groups(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    capsys.readouterr()
    figure = tmp_path / "figure.svg"
    labels = ("--label", "network=nchl=NcHL", "--label", "network=static=no rule", "--baseline", "network=static")
    assert main(["compare", str(runs), *labels, "--figure", str(figure), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [group["name"] for group in found["groups"]] == ["NcHL", "no rule"]
    assert [group["settings"]["network"] for group in found["groups"]] == ["nchl", "static"]
    assert "did you mean 'network=nchl'" in refused(capsys, "compare", str(runs), "--label", "network=nhcl=NcHL")


def test_mixed_tasks(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other", [1.0], task="Acrobot-v1")
    said = refused(capsys, "compare", str(runs), str(other))
    assert "Acrobot-v1: " in said
    assert "CartPole-v1: " in said
    assert "--task" in said
    capsys.readouterr()
    assert main(["compare", str(runs), str(other), "--task", "CartPole-v1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], sum(len(group["runs"]) for group in found["groups"])) == ("CartPole-v1", 4)
    assert "did you mean 'Acrobot-v1'" in refused(capsys, "compare", str(runs), str(other), "--task", "Acrobot-v2")


def test_a_finished_sweep_of_several_tasks_names_a_comparison_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text("hidden: [4]\npopulation: 10\ngenerations: 1\ngrid: {task: [CartPole-v1, Acrobot-v1]}\n")
    for task in ("CartPole-v1", "Acrobot-v1"):
        write_run(out / f"task-{task}_seed-0", [1.0], task=task)
    assert main(["sweep", str(file), "--out", str(out)]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    commands = [f"nchl compare {out} --task {task}" for task in ("CartPole-v1", "Acrobot-v1")]
    assert lines[-3:] == ["Try next:", *commands]
    for command in commands:
        assert main(command.split()[1:]) == 0


def test_a_sweep_whose_runs_are_done(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    assert main(["sweep", str(file), "--out", str(runs)]) == 0
    assert f"4 of 4 runs are done, in {runs}" in capsys.readouterr().out
    assert main(["sweep", str(file), "--out", str(tmp_path / "new"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "network-static_seed-1  new" in said
    assert "0 of 4 runs are done" in said
    assert not (tmp_path / "new").exists()
    file.write_text(SWEEP.replace("hidden: [3]", "hidden: [4]"))
    assert "hidden is [3] there and [4] in the file" in refused(capsys, "sweep", str(file), "--out", str(runs))
    assert "--jobs: expected a whole number of at least 1" in refused(capsys, "sweep", str(file), "--jobs", "0")
    assert "nowhere.yaml" in refused(capsys, "sweep", "nowhere.yaml")
    said = refused(capsys, "sweep", str(file), "--out", str(file))
    assert "name another folder with --out" in said
    assert "nchl resume" not in said


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: CartPol-v1\ngrid: {network: [nchl, hl]}\n", "run network-nchl_seed-0: unknown task 'CartPol-v1': did you mean 'CartPole"),
        ("task: CartPole-v1\ngrid: {rule: [own.py:mine, own.py:absent]}\n", "run rule-absent_seed-0: a rule: .*'absent'"),
        ("task: CartPole-v1\ngrid: {rule: [own.py:mine, nowhere.py:mine]}\n", "run rule-mine_2_seed-0: .*nowhere.py"),
        ("task: CartPole-v1\nnetwork: nowhere.py:net\n", "run seed-0: .*nowhere.py"),
        ("task: CartPole-v1\nnetwork: conv-hml\n", "run seed-0: CartPole-v1 has no pictures"),
    ],
)
def test_a_sweep_of_what_is_not_there_starts_nothing(
    text: str, said: str, dry: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text("def mine(pre, post, A_synapse):\n    return A_synapse * pre\n")
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(text)
    assert re.search(said, refused(capsys, "sweep", str(file), "--out", str(out), *(["--dry-run"] if dry else [])))
    assert not out.exists()


@pytest.mark.slow
def test_larger_totals_in_the_file_go_on_to_the_same_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real processes: two generations and then two more are four, bit for bit."""
    text = "task: CartPole-v1\nhidden: [3]\npopulation: 8\ngenerations: {}\ngrid: {{normalise: [none, ~]}}\n"
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(text.format(2))
    assert main(["sweep", str(file), "--out", str(out)]) == 0
    assert "note: normalise-none_seed-0 is normalise-default_seed-0 too" in capsys.readouterr().out
    file.write_text(text.format(4))
    assert main(["sweep", str(file), "--out", str(out), "--dry-run"]) == 0
    assert "normalise-none_seed-0  extended, 2 of 4 generations" in capsys.readouterr().out
    assert main(["sweep", str(file), "--out", str(out)]) == 0
    assert "1 of 1 runs are done" in capsys.readouterr().out
    whole = tmp_path / "whole"
    assert main(["evolve", "CartPole-v1", "--hidden", "3", "--population", "8", "--generations", "4", "--out", str(whole)]) == 0
    assert results(out / "normalise-none_seed-0") == results(whole)
    file.write_text(text.format(3))
    assert "a total that has become larger continues a run" in refused(capsys, "sweep", str(file), "--out", str(out))


@pytest.mark.slow
def test_a_sweep_from_its_file_to_its_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real processes: one run fails, for what it begins with is not there; the other ends, and the sweep says so."""
    (tmp_path / "own.py").write_text("def mine(pre, post, A_synapse):\n    return A_synapse * pre\n")
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(
        "task: CartPole-v1\nhidden: [3]\npopulation: 8\ngenerations: 2\nrule: own.py:mine\ngrid: {initial-genome: [zeros, absent]}\n"
    )
    assert main(["sweep", str(file), "--out", str(out), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    states = {run["name"]: run["state"] for run in result["runs"]}
    assert states == {"initial-genome-zeros_seed-0": "done", "initial-genome-absent_seed-0": "failed"}
    assert "absent" in result["runs"][1]["error"]
    assert main(["compare", str(out), "--markdown"]) == 0
    assert "| all runs | 1 | 18 |" in capsys.readouterr().out
