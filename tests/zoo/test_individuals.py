"""Each individual of the zoo: card, files and page agree, and it scores what its card says."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("scipy")

import nchl
from nchl import zoo
from nchl.cli.parser import Parser, given
from nchl.cli.verbs import evolve
from nchl.errors import MissingExtra, TaskError
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.store.folder import RunFolder
from nchl.zoo import index as package
from reference.pages import ROOT

CARDS = zoo.cards()
QUICK = [name for name, card in CARDS.items() if card.task == "CartPole-v1"]


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo_tool", ROOT / "studies" / "zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo_tool"] = module
    spec.loader.exec_module(module)
    return module


tool = _module()


def test_the_index_is_what_the_files_say() -> None:
    assert tool.index() == (package.ROOT / "index.json").read_text(), "write it anew: python studies/zoo.py page"
    assert {path.name for path in (package.ROOT / "individuals").iterdir()} == set(CARDS)


def test_the_page_has_the_cards_and_small_films() -> None:
    text = (ROOT / "docs" / "zoo.md").read_text()
    assert tool.written(text) == text, "write it anew: python studies/zoo.py page"
    films = list((ROOT / "docs" / "images" / "zoo").iterdir())
    assert {film.stem for film in films} <= set(CARDS)
    assert max(film.stat().st_size for film in films) <= tool.LARGEST_FILM


def test_files_are_small_and_of_kinds_that_cannot_run_code() -> None:
    files = [path for path in (package.ROOT / "individuals").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".csv", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= tool.LARGEST_ZOO
    assert "individuals/** -text" in (ROOT / ".gitattributes").read_text()  # line ends that git changes would change the checksums


def zeros(space: Any) -> Any:
    """An observation of zeros, with the parts that the space has."""
    parts = getattr(space, "spaces", None)
    return np.zeros(space.shape, space.dtype) if parts is None else {key: zeros(part) for key, part in parts.items()}


@pytest.mark.parametrize("name", CARDS)
def test_an_individual_is_that_of_its_card(name: str) -> None:
    card, folder = CARDS[name], RunFolder.open(f"zoo:{name}")
    assert folder.path == zoo.checked_folder(name) == card.folder
    assert set(card.files) == {path.name for path in card.folder.iterdir()}
    agent, task = nchl.load(f"zoo:{name}")
    assert agent.nparams == card.nparams == agent.genome.numel()
    assert np.isfinite(agent.genome.numpy()).all()
    assert card.network.split(",")[0].removeprefix("gru ").split("-")[-1] in (str(agent.output_size), "thesis", "hml")
    assert task.simulator.action_space.contains(agent.act(zeros(task.simulator.observation_space)))
    record = folder.read_record()
    assert record.settings.task == card.task
    assert record.code is record.objects is None
    assert not record.files
    assert (record.settings.workers, record.settings.cluster) == (None, None)
    assert {each["commit"] for each in record.sessions or []} == {card.commit}
    assert card.score.low <= card.score.mean <= card.score.high


@pytest.mark.parametrize("name", CARDS)
def test_the_command_of_a_card_has_the_settings_of_its_run(name: str) -> None:
    words = shlex.split(CARDS[name].command)
    parser = Parser("nchl evolve", "")
    evolve.add_arguments(parser)
    settings = EvolveConfig.create(**given(parser.parse_words(words[2:]), options()))
    assert words[:2] == ["nchl", "evolve"]
    assert settings.to_json() == {**RunFolder.open(f"zoo:{name}").read_record().settings.to_json(), "preset": None}


def played_again(name: str, episodes: int) -> None:
    """Its first episodes, and a quarter of them without plasticity."""
    card = CARDS[name]
    kept = json.loads((card.folder / "evaluation.json").read_text())
    assert np.mean(kept["returns"]) == pytest.approx(card.score.mean)
    again = nchl.evaluate(f"zoo:{name}", episodes=episodes, seed=card.score.seed)
    # Another processor rounds otherwise, and a life may end otherwise for it: two means of as many episodes, by their spread.
    allowed = max(3 * kept["std"] * np.sqrt(2 / episodes), 0.01 * abs(card.score.mean))
    assert again["mean"] == pytest.approx(np.mean(kept["returns"][:episodes]), abs=allowed)
    if card.score.plasticity_off is not None:
        off = nchl.evaluate(f"zoo:{name}", episodes=episodes // 4, seed=card.score.seed, controls=True)["plasticity_off"]
        allowed = max(3 * kept["plasticity_off"]["std"] / np.sqrt(episodes // 4), 0.01 * abs(card.score.mean))
        assert off["mean"] == pytest.approx(card.score.plasticity_off, abs=allowed)


@pytest.mark.parametrize("name", QUICK)
def test_cartpole_scores_what_its_card_says(name: str) -> None:
    played_again(name, CARDS[name].score.episodes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CARDS if name not in QUICK])
def test_an_individual_scores_what_its_card_says(name: str) -> None:
    try:
        played_again(name, 10)
    except (MissingExtra, TaskError) as error:
        pytest.skip(str(error))


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package without individuals, to which the tool adds."""
    monkeypatch.setattr(package, "ROOT", tmp_path / "zoo")
    (tmp_path / "zoo" / "individuals").mkdir(parents=True)
    (tmp_path / "zoo" / "index.json").write_text("{}")
    return tmp_path / "zoo"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs as a clean checkout makes them."""
    made = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("runs") / f"seed-{seed}"
        nchl.run("CartPole-v1", out=folder, hidden=(4,), population=10, generations=2, seed=seed, max_episode_steps=20)
        record = json.loads((folder / "config.json").read_text())
        record["settings"]["workers"] = 2
        record["versions"]["nchl_commit"] = "0" * 40
        record["sessions"][0] |= {"commit": "0" * 40, "dirty": False}
        (folder / "config.json").write_text(json.dumps(record))
        made.append(folder)
    return made


def test_adding_takes_the_best_of_several_runs_and_no_paths(empty: Path, runs: list[Path]) -> None:
    card = tool.add("pole", runs, episodes=4)
    means = [nchl.evaluate(run, episodes=4, seed=tool.CHOOSING_SEED)["mean"] for run in runs]
    best = runs[int(np.argmax(means))]
    assert (card.folder / "best.safetensors").read_bytes() == (best / "best.safetensors").read_bytes()
    assert card == zoo.card("pole")
    assert card.score.mean == nchl.evaluate(best, episodes=4)["mean"]
    text = (card.folder / "config.json").read_text()
    assert str(best) not in text
    assert json.loads(text)["settings"]["workers"] is None
    assert "--out" not in card.command
    with pytest.raises(tool.ZooError, match="exists already"):
        tool.add("pole", runs)
    (other,) = set(runs) - {best}
    replaced = tool.add("pole", [other], episodes=4, replace=True)
    assert (replaced.folder / "best.safetensors").read_bytes() == (other / "best.safetensors").read_bytes()
    assert sorted(path.name for path in empty.iterdir()) == ["index.json", "individuals"]


@pytest.mark.parametrize("broken", ["evaluate", "write_json", "write_index", "LARGEST_ZOO"])
def test_an_individual_stays_where_its_successor_fails(broken: str, empty: Path, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise tool.ZooError("no evaluation here")

    def files() -> dict[str, bytes]:
        return {str(path.relative_to(empty)): path.read_bytes() for path in empty.rglob("*") if path.is_file()}

    with monkeypatch.context() as patched:
        patched.setattr(*((tool.nchl, broken) if broken == "evaluate" else (tool, broken)), 1 if broken == "LARGEST_ZOO" else fail)
        with pytest.raises(tool.ZooError):
            tool.add("pole", [runs[0]], episodes=2)
        assert set(files()) == {"index.json"}
    tool.add("pole", [runs[0]], episodes=2)
    before = files()
    with monkeypatch.context() as patched:
        patched.setattr(*((tool.nchl, broken) if broken == "evaluate" else (tool, broken)), 1 if broken == "LARGEST_ZOO" else fail)
        with pytest.raises(tool.ZooError):
            tool.add("pole", [runs[1]], episodes=2, replace=True)
        assert files() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sessions": [{"commit": "1" * 40, "dirty": True}]}, "not made with one commit"),
        ({"settings": {"generations": 5}}, "ended after 2 of 5 generations"),
        ({"settings": {"initial_genome": "/elsewhere/run"}}, "began with the genome of /elsewhere/run"),
        ({"settings": {"task": "mine:Pole-v0"}}, "code that is not part of nchl"),
    ],
)
def test_what_one_command_does_not_repeat_is_refused(
    change: dict[str, object], message: str, empty: Path, runs: list[Path], tmp_path: Path
) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    for key, value in change.items():
        record[key] = record[key] | value if isinstance(value, dict) else value
    (run / "config.json").write_text(json.dumps(record))
    with pytest.raises(tool.ZooError, match=message):
        tool.add("pole", [run])
    assert not list((empty / "individuals").iterdir())


def test_an_unfinished_run_and_an_odd_name_are_refused(empty: Path, runs: list[Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    (run / "summary.json").unlink()
    with pytest.raises(tool.ZooError, match="takes finished runs"):
        tool.add("pole", [run])
    with pytest.raises(tool.ZooError, match="got 'My Pole'"):
        tool.add("My Pole", runs)
