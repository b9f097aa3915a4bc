"""Films are opened again: their frames are counted, found to differ, and what is told of them is what an evaluation tells."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nchl
from nchl.cli import main
from nchl.errors import InvalidArgument, MissingExtra, RunError, TaskError
from nchl.report.film import film, video
from nchl.report.film.captions import ON, Caption, compose
from nchl.report.film.names import in_a_name
from nchl.runs.settings.perturbation_options import always
from nchl.runs.sinks.tensorboard import EventFile

pytest.importorskip("gymnasium")
imageio = pytest.importorskip("imageio.v2")
pytest.importorskip("imageio_ffmpeg")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CartPole that falls after some steps, in Gymnasium."""
    folder = tmp_path_factory.mktemp("runs") / "cartpole"
    nchl.run("CartPole-v1", out=folder, hidden=(4,), population=20, generations=2, simulator="gymnasium", normalise_observations=True)
    return folder


def frames(path: Path) -> list[np.ndarray]:
    return opened(path)[0]


def opened(path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """All frames, and what the file says of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # imageio's reader leaves its pipes to the garbage collector
        with imageio.get_reader(path) as reader:
            return [frame for frame in reader], reader.get_meta_data()  # noqa: C416 (its length is said to be infinite)


def test_a_film_with_its_controls(run: Path, tmp_path: Path) -> None:
    plain = film(run, tmp_path / "plain.mp4", which="centre", width=120, seed=7, episodes=2, gif=True)
    pictures = frames(tmp_path / "plain.mp4")
    hold = 50  # a second in which the end of an episode stays
    assert len(pictures) == plain["frames"] == sum(plain["lengths"]) + 2 * hold
    assert (plain["width"], plain["height"]) == pictures[0].shape[1::-1]
    assert plain["width"] == 120
    moving = [picture.astype(int) for picture in pictures[: plain["lengths"][0]]]
    assert np.mean([np.abs(a - b).max() > 20 for a, b in itertools.pairwise(moving)]) > 0.9
    about = opened(tmp_path / "plain.mp4")[1]
    assert (about["codec"], about["fps"]) == ("h264", 50)
    assert about["pix_fmt"].startswith("yuv420p")
    assert len(frames(tmp_path / "plain.gif")) > 10

    told = nchl.evaluate(run, episodes=2, seed=7, which="centre")
    assert plain["returns"] == told["returns"]
    assert np.mean(plain["lengths"]) == told["length"]

    three = film(run, tmp_path / "three.mp4", which="centre", width=120, seed=7, controls=True)
    assert three["width"] == 3 * plain["width"]
    assert frames(tmp_path / "three.mp4")[0].shape[1] == 360
    told = nchl.evaluate(run, episodes=1, seed=7, which="centre", controls=True)
    assert three["returns"] == told["returns"]
    assert three["plasticity_off"]["returns"] == [told["plasticity_off"]["mean"]]
    assert three["frozen_half_way"]["returns"] == [told["frozen_half_way"]["mean"]]
    assert three["frozen_half_way"]["after_steps"] == [told["frozen_half_way"]["after_steps"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.gif", "plain.mp4", "three.mp4"]  # nothing half-done stays
    json.dumps(three, allow_nan=False)


def test_a_width_that_no_memory_holds_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["film", str(run), "--width", "99999"]) == 2
    assert "--width: expected a whole number from 64 to 4096" in capsys.readouterr().err


def test_fewer_pictures_and_fewer_seconds_change_no_return(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = film(run, tmp_path / "whole.mp4", which="centre", width=64, seed=7)
    assert main(["film", str(run), "--which", "centre", "--width", "64", "--seed", "7", "--fps", "10", "--seconds", "0.1", "--json"]) == 0
    short = json.loads(capsys.readouterr().out)
    assert short["film"] == str(run / "film-centre-seed-7-seconds-0.1.mp4")
    assert (short["returns"], short["lengths"]) == (whole["returns"], whole["lengths"])
    assert short["frames_per_second"] == 10
    assert short["frames"] == len(frames(Path(short["film"]))) == 2  # steps 0 and 5
    assert main(["film", str(run), "--width", "64", "--fps", "5", "--seconds", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "best individual" in shown
    assert "return: " in shown


def test_a_film_with_options_leaves_the_one_of_the_report(run: Path) -> None:
    for options in ({}, {"width": 64, "fps": 5}):
        assert film(run, **options)["film"] == str(run / "film.mp4")  # the same episode, whole
    before = (run / "film.mp4").read_bytes()
    plain = {"width": 64, "fps": 5}
    for name, options in {
        "film-centre": {"which": "centre"},
        "film-lesion-weights=1@3-controls": {"perturb": "lesion:weights=1@3", "controls": True},
        "film-unperturbed": {"perturb": "none"},
        "film-gymnasium-seed-3": {"simulator": "gymnasium", "seed": 3},
        "film-episodes-2-seconds-0.5": {"episodes": 2, "seconds": 0.5},
    }.items():
        assert film(run, gif=True, **plain, **options)["gif"] == str(run / f"{name}.gif")
        assert (run / f"{name}.mp4").exists()
    assert (run / "film.mp4").read_bytes() == before
    film(run, run / "film.mp4", which="centre", **plain)  # on request
    assert (run / "film.mp4").read_bytes() != before


def test_films_under_different_perturbations_have_different_names() -> None:
    assert in_a_name(always("motor:*=0")) == "motor-all=0"
    assert in_a_name(always(["motor:0,2=0.5@3..5", "push:torso=-300N@4+2"])) == "motor-0,2=0.5@3..5_push-torso=-300N@4+2"
    assert in_a_name(always("mass:left foot=x2")) != in_a_name(always("mass:leftfoot=x2"))
    long = [[f"sensor:{k}=0@{last}" for k in range(9)] for last in (1, 2)]
    first, second = (in_a_name(always(each)) for each in long)
    assert first != second
    assert first.startswith("sensor-0=0@1_sensor-1=0@1_")
    assert len(first) == 67


def test_tensorboard_shows_the_film(run: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    film(run, width=64, seconds=0.2)
    film(run, width=64, seconds=0.2)  # replaces the one of the same generation
    accumulator = accumulators.EventAccumulator(str(run / "tensorboard" / "film"))
    accumulator.Reload()
    (shown,) = accumulator.Images("film")
    assert shown.encoded_image_string.startswith(b"GIF8")
    assert (shown.width, shown.height) == frames(run / "film-seconds-0.2.mp4")[0].shape[1::-1]
    summary = json.loads((run / "summary.json").read_text())
    assert shown.step == summary["best"]["generation"]


def test_a_later_film_comes_after_an_earlier_one(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for step in (3, 5, 5, 4):
        events = EventFile(tmp_path, keep=step - 1)
        events.picture(step, "film", b"GIF89a" + bytes([step]) * 20, (step, step))
        events.close()
    accumulator = accumulators.EventAccumulator(str(tmp_path))
    accumulator.Reload()
    assert [image.step for image in accumulator.Images("film")] == [3, 4]


def test_what_cannot_be_filmed_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        film(tmp_path)
    with pytest.raises(RunError, match="no folder"):
        film(run, tmp_path / "nowhere" / "film.mp4")
    with pytest.raises(InvalidArgument, match=r"film\.mp4"):
        film(run, tmp_path / "film.avi")
    (tmp_path / "taken.mp4").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        film(run, tmp_path / "taken.mp4")
    for name, value in (("episodes", 0), ("width", 1), ("fps", 0), ("fps", 500), ("seconds", math.nan)):
        with pytest.raises(InvalidArgument, match=name):
            film(run, tmp_path / "film.mp4", **{name: value})
    nchl.run("CartPole-v1", out=tmp_path / "static", network="static", hidden=[4], population=4, generations=1, simulator="gymnasium")
    with pytest.raises(InvalidArgument, match="static"):
        film(tmp_path / "static", controls=True)
    (tmp_path / "static" / "best.safetensors").unlink()
    with pytest.raises(RunError, match="no generation was finished"):
        film(tmp_path / "static")
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", _no_ffmpeg)
    with pytest.raises(MissingExtra, match=r"ffmpeg.*pip install .*\[report\].*IMAGEIO_FFMPEG_EXE"):
        film(run, tmp_path / "film.mp4")
    monkeypatch.setitem(__import__("sys").modules, "imageio", None)
    with pytest.raises(MissingExtra, match=r"imageio.*pip install .*\[report\]"):
        film(run, tmp_path / "film.mp4")


def _no_ffmpeg() -> str:
    raise RuntimeError("No ffmpeg exe could be found")


# imageio leaves its pipe to an ffmpeg that has died to the garbage collector, which complains when it likes.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_film_that_fails_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        film(run, tmp_path / "film.mp4", on_progress=lambda step, most: 1 // 0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(video, "_QUALITY", ["-no-such-option"])
    with pytest.raises(RunError, match="cannot write"):
        film(run, tmp_path / "film.mp4", seconds=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [64, 101, 480])
def test_captions_keep_the_sides_even(width: int) -> None:
    frame = np.full((60, 90, 3), 200, dtype=np.uint8)
    caption = Caption("plasticity on", "12.34 s   reward -1,234.5", ON)
    alone = compose([(frame, caption)], width, "a footer that is far too long for this picture " * 3)
    assert alone.shape[0] % 2 == alone.shape[1] % 2 == 0
    assert alone.shape[1] == width + width % 2
    ended = compose([(frame, caption), (frame, caption._replace(ended=True))], width, "footer")
    assert ended.shape[1] == 2 * alone.shape[1]
    left, right = np.split(ended, 2, axis=1)
    assert left.astype(int).sum() > right.astype(int).sum()


def small_run(task: str, folder: Path, **options: Any) -> Path:
    nchl.run(task, out=folder, population=2, generations=1, **{"hidden": [4], **options})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "options", "drawn_by"),
    [
        ("HalfCheetah-v5", {"simulator": "envpool"}, "Gymnasium ("),
        ("Hopper-v5", {"simulator": "gymnasium"}, "Gymnasium ("),
        ("AntBulletEnv-v0", {}, "PyBullet (software)"),
        ("FingerSpin-v1", {"simulator": "envpool"}, "EnvPool ("),
        ("FrozenLake-v1", {"simulator": "gymnasium"}, "Gymnasium"),
        ("CarRacing-v3", {"network": "conv-thesis", "hidden": None, "simulator": "envpool"}, "EnvPool"),
    ],
)
def test_every_kind_of_task_can_be_filmed(task: str, options: dict[str, Any], drawn_by: str, tmp_path: Path) -> None:
    if options.get("simulator") == "envpool":
        pytest.importorskip("envpool")
    if task.startswith("AntBullet"):
        pytest.importorskip("pybullet_envs_gymnasium")
    run = small_run(task, tmp_path / "run", **options)
    try:
        told = film(run, width=96, seconds=0.4)
    except TaskError as error:
        if "OpenGL" in str(error):
            pytest.skip(str(error))
        raise
    assert told["drawn_by"].startswith(drawn_by)
    assert told["notes"] == []
    evaluated = nchl.evaluate(run, episodes=1)
    assert told["returns"] == evaluated["returns"]
    pictures = frames(Path(told["film"]))
    assert len(pictures) == told["frames"]
    assert min(picture.std() for picture in pictures) > 5
    if task != "FrozenLake-v1":
        assert (pictures[0] != pictures[-1]).any()


@pytest.mark.slow
def test_a_film_in_the_other_simulator_says_so(tmp_path: Path) -> None:
    pytest.importorskip("envpool")
    run = small_run("FrozenLake-v1", tmp_path / "run", simulator="envpool")
    told = film(run, width=96)
    assert told["simulator"] == "gymnasium"
    assert any("EnvPool cannot draw FrozenLake-v1" in note for note in told["notes"])
