"""`nchl report`: contents of the page, escaping and requests, and all states of a run."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

import nchl
from nchl.cli import main
from nchl.errors import NchlError, RunError
from nchl.report import page
from nchl.report.microscope import recording
from nchl.report.page import document, lifetime, snapshot

EVIL = '<img src=x onerror="document.title=1">'


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "run"
    nchl.run("CartPole-v1", out=folder, hidden=[3], population=8, generations=2, command=["nchl", "evolve", EVIL])
    return folder


@pytest.fixture(scope="module")
def written(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    out = tmp_path_factory.mktemp("out") / "page.html"
    result = page.write(finished, out, episodes=3, film=False)
    return result, out.read_text(encoding="utf-8")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def quickly(run: Path, **options: Any) -> str:
    result = page.write(run, **{"episodes": 0, "film": False, "microscope": False, **options})
    return Path(result["report"]).read_text(encoding="utf-8")


def test_what_comes_back(written: tuple[dict[str, Any], str]) -> None:
    result, text = written
    assert result["bytes"] == len(text.encode())
    assert result["status"] == "ended after generation 2: all generations are done"
    assert result["evaluation"]["episodes"] == 3
    assert "returns" not in result["evaluation"]
    assert result["microscope"]["moments"] >= 1
    assert result["notes"] == []
    json.dumps(result, allow_nan=False)


def test_what_is_on_the_page(written: tuple[dict[str, Any], str]) -> None:
    _, text = written
    assert "nchl evolve CartPole-v1 --hidden 3 --population 8 --generations 2 --out repeated" in text
    for section in ("learning", "evaluation", "microscope", "dynamics", "genome", "settings", "repeat"):
        assert f'<section id="{section}"' in text
    assert "plasticity off" in text
    assert "frozen half-way" in text
    assert "band: mean ± one standard deviation of a generation" in text
    pictures = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(pictures) == 2 + 2 + len("ABCD") + 1
    assert all(len(label) > 20 for label in pictures)


def test_what_the_weights_do_is_what_an_evaluation_says(written: tuple[dict[str, Any], str], finished: Path) -> None:
    result, text = written
    said = nchl.evaluate(finished, episodes=1, dynamics=True)["dynamics"]["per_episode"][0]
    assert result["dynamics"] == said
    assert html.escape(said["why"]) in text[text.index('<section id="dynamics"') :]


def test_a_network_too_large_for_the_microscope_still_has_its_weights_followed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "BUDGET", 10)
    result = page.write(run, episodes=0, film=False)
    assert result["microscope"] is None
    assert [note.partition(":")[0] for note in result["notes"]] == ["There is no microscope"]
    assert result["dynamics"]["changes"] > 0
    assert '<section id="dynamics"' in (run / "report.html").read_text(encoding="utf-8")


def test_a_network_without_a_graph_has_a_page_that_says_why_it_has_no_microscope(tmp_path: Path) -> None:
    folder = nchl.run("CartPole-v1", out=tmp_path / "gru", network="gru", hidden=[3], population=4, generations=1).folder
    result = page.write(folder, episodes=0, film=False)
    assert result["microscope"] is None
    (note,) = result["notes"]
    assert "There is no microscope: " in note
    assert "StaticGRU has none" in note
    assert "StaticGRU has none" in (folder / "report.html").read_text(encoding="utf-8")


def test_no_request_can_leave_the_page(written: tuple[dict[str, Any], str]) -> None:
    _, text = written
    elements = Elements(text).found
    policy = next(a["content"] for tag, a in elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for tag, attributes in elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
                assert (value or "").startswith(("data:", "#")), f"<{tag} {name}={value!r}>"
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_names_of_users_are_text_and_nothing_else(written: tuple[dict[str, Any], str], run: Path) -> None:
    _, text = written
    assert EVIL not in text
    assert html.escape(EVIL, quote=False) in html.unescape(text).replace(EVIL, html.escape(EVIL, quote=False))
    renamed = run.rename(run.with_name("<script>alert(1)<"))
    config = json.loads((renamed / "config.json").read_text())
    config["started"] = config["versions"]["torch"] = EVIL
    (renamed / "config.json").write_text(json.dumps(config))
    text = quickly(renamed)
    tags = [tag for tag, _ in Elements(text).found]
    assert "img" not in tags
    assert tags.count("script") == 1  # the page's own, which saves pictures


def test_data_cannot_end_the_script_that_holds_it() -> None:
    text = str(document._json({"name": "</script><script>alert(1)</script>&<!--"}))
    assert not set(text) & set("<>&")
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>&<!--"}


def test_one_generation_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    nchl.run("CartPole-v1", out=folder, network="static", hidden=[2], population=4, generations=1)
    result = page.write(folder, episodes=2, film=False)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "plasticity_off" not in result["evaluation"]
    assert "not plastic" in text
    assert "There is no verdict: the network is static: its weights are constant." in text
    assert "--controls" not in text


OWN = """
def rewarded(pre, post, reward, A_pre):
    return A_pre * reward * pre * post


def decaying(pre, post, weight, A_pre, A_post, decay_post):
    return A_pre * A_post * pre * post - decay_post * weight


def oja(pre, post, weight, eta_post):
    return eta_post * post * (pre - post * weight)
"""


def test_a_rule_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    for rule, said in (
        ("decaying", "share of the parameters A, decay"),
        ("oja", "The rule oja has one parameter, eta: there are no shares of the change, only the total."),
    ):
        folder = tmp_path / rule
        nchl.run("CartPole-v1", out=folder, rule=f"{tmp_path / 'own.py'}:{rule}", hidden=[2], population=4, generations=1)
        assert said in quickly(folder, microscope=True)


def test_the_lines_for_python_give_the_reward_where_it_is_needed(tmp_path: Path, run: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    folder = tmp_path / "rewarded"
    nchl.run("CartPole-v1", out=folder, rule=f"{tmp_path / 'own.py'}:rewarded", hidden=[2], population=4, generations=1)
    page = quickly(folder)
    assert "reward = None " in page
    assert "action = net.act(observation, reward)" in page
    assert "net.act(observation, reward)" not in quickly(run)


def test_metrics_that_are_not_finite(run: Path) -> None:
    lines = (run / "metrics.csv").read_text().splitlines()
    cells = lines[-1].split(",")
    cells[4:8] = ["inf", "", "nan", "inf"]
    (run / "metrics.csv").write_text("\n".join([*lines[:-1], ",".join(cells), "3,torn"]))
    text = quickly(run)
    assert "Learning curve over 2 generations" in text
    assert "not finite" in text


def test_hundreds_of_generations(run: Path) -> None:
    header, first, _ = (run / "metrics.csv").read_text().splitlines()
    rest = first.partition(",")[2]
    (run / "metrics.csv").write_text("\n".join([header, *(f"{k},{rest}" for k in range(1, 801)), ""]))
    text = quickly(run)
    assert "Learning curve over 800 generations" in text
    assert len(text) < 500_000


def test_a_run_without_a_best_individual_yet(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "best.safetensors").unlink()
    assert main(["report", str(run)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "wait until its first generation is saved" in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (run / "report.html").exists()


def test_a_run_that_is_being_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "summary.json").unlink()
    assert "running or just stopped, generation 2 of 2" in quickly(run)
    monkeypatch.setattr(snapshot, "in_use", lambda path: True)
    assert "running, generation 2 of 2" in quickly(run)


def test_the_page_is_of_one_moment_although_the_run_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with snapshot.snapshot(run) as state:
        (run / "best.safetensors").write_bytes(b"another one")
        assert state.folder.best.read_bytes() != b"another one"
        assert state.folder.path.name == "run"
    assert not state.folder.path.exists()


@pytest.mark.parametrize("name", ["best.safetensors", "config.json", "metrics.csv"])
def test_an_altered_run(name: str, run: Path) -> None:
    (run / name).write_bytes(b"\x80\x04.")
    with pytest.raises(RunError, match=re.escape(name)):
        quickly(run)


def test_what_cannot_be_drawn_is_left_out_with_its_reason(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_renderer(*_: Any, **__: Any) -> None:
        raise NchlError("there is no renderer <here>")

    monkeypatch.setattr(lifetime, "open_run", no_renderer)
    (run / "film.mp4").mkdir()
    result = page.write(run, episodes=0)
    assert [note.partition(":")[0] for note in result["notes"]] == ["There is no microscope", "There is no film"]
    assert result["microscope"] is None
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "there is no renderer &lt;here&gt;" in text
    assert "script-src 'sha256-" in text
    assert 'id="recording"' not in text
    assert 'id="dynamics"' not in text


def test_a_film_of_the_run_folder_is_embedded(run: Path) -> None:
    (run / "film.mp4").write_bytes(b"a film")
    text = quickly(run, film=True)
    # `nchl film` may have shown the centre: the film itself names the individual.
    assert "film.mp4 of the run folder; its last line says which individual and seed." in text
    assert "The best individual" not in text[text.index('<section id="film"') : text.index('<section id="learning"')]
    assert 'src="data:video/mp4;base64,YSBmaWxt"' in text


def test_a_film_that_is_too_large_is_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "_LARGEST_FILM", 3)
    (run / "film.mp4").write_bytes(b"a film")
    result = page.write(run, episodes=0, microscope=False)
    assert not result["film"]
    assert "more than a page should carry" in result["notes"][0]


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new folder" / "page.html"
    assert main(["report", str(run), "--out", str(out), "--episodes", "0", "--no-film", "--no-microscope", "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["report"] == str(out)
    assert out.stat().st_size == result["bytes"]
    assert main(["report", str(run), "--episodes", "0", "--no-film", "--no-microscope"]) == 0
    assert f"{run}/report.html" in capsys.readouterr().out


def test_under_a_perturbation(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quickly(run, episodes=4)
    kept = (run / "unseen-episodes.json").read_bytes()
    assert main(["report", str(run), "--perturb", "lesion:weights=1@3", "--episodes", "4", "--no-film", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["report"] == str(run / "report-lesion-weights=1@3.html")
    text = (run / "report-lesion-weights=1@3.html").read_text(encoding="utf-8")
    assert "<code>lesion:weights=1@3</code>, from step 4 on" in text
    assert "Perturbed: <code>lesion:weights=1@3</code>." in text
    assert "--controls --perturb lesion:weights=1@3" in html.unescape(text)
    assert recorded(text)["perturbed"] == 3
    assert "perturbed (step 3)" in text, "of the path of the weights"
    assert (run / "unseen-episodes.json").read_bytes() == kept, "the intact episodes are still there for the next page"
    same = nchl.evaluate(run, episodes=4, perturb="lesion:weights=1@3")
    assert result["evaluation"]["mean"] == same["mean"] != nchl.evaluate(run, episodes=4)["mean"]
    assert recorded(text)["total"] == pytest.approx(same["returns"][0])


def test_a_perturbation_after_the_end_of_the_lifetime_is_told(run: Path) -> None:
    result = page.write(run, episodes=0, film=False, perturb=["sensor:0=0@499"])
    assert [note for note in result["notes"] if "before the perturbation sensor:0=0@499" in note]
    assert recorded(Path(result["report"]).read_text(encoding="utf-8"))["perturbed"] is None


def test_a_perturbation_from_the_start_has_no_line(run: Path) -> None:
    text = quickly(run, microscope=True, perturb="sensor:0=0")
    assert "Perturbed: <code>sensor:0=0</code>." in text
    assert recorded(text)["perturbed"] == 0


def recorded(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="recording">(.*?)</script>', text, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([str(tmp_path / "nothing")], "no run folder"),
        ([str(run), "--episodes", "-1"], "--episodes: expected a whole number of at least 0"),
        ([str(run), "--seed", "-1"], "--seed: expected a whole number of at least 0"),
        ([str(run), "--episodes", "0", "--no-film", "--no-microscope", "--out", str(run)], "it is a folder; name a file in it"),
        ([str(run), "--episodes", "0", "--out", str(run / "config.json" / "page.html")], "config.json is no folder"),
    ):
        assert main(["report", *words]) == 2
        assert said in capsys.readouterr().err
