"""Disks that are full or read-only, checkpoints that are cut, altered, renamed or half copied, clocks that go back.

Whatever happens: the last good state is found again, and the user gets a line that names the file, not a traceback.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nchl.cli import main
from nchl.runs.results.load import load
from nchl.runs.session import recorder
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.runs.store.checkpoints import read_newest
from reference.disks import disk
from reference.runs import SMALL, results

CARTPOLE = "CartPole-v1"
WORDS = ["evolve", CARTPOLE, "--hidden", "4", "--population", "8", "--generations", "6", "--seed", "3"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, with its last two checkpoints one generation apart; copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "CHECKPOINT_SECONDS", 0.0)
        run(CARTPOLE, folder, **SMALL)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, as if it had not ended."""
    folder = Path(shutil.copytree(finished, tmp_path / "copy"))
    (folder / "summary.json").unlink()
    return folder


@pytest.fixture
def nchl(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call the command line; gives the exit code and what was said on stderr."""

    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    return call


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("*.safetensors"))


# 4 KiB are a page of tmpfs; 4 to 76 KiB end before, in and after each of the files that a run writes.
@pytest.mark.parametrize("free", [4, 20, 28, *(pytest.param(kib, marks=pytest.mark.slow) for kib in range(32, 80, 4))])
def test_a_full_disk_costs_nothing_but_time(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nchl: Callable[..., tuple[int, str]], free: int
) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_SECONDS", 0.0)
    with disk(tmp_path / "disk") as small:
        folder = small.path / "run"
        small.leave(free * 1024)
        code, said = nchl(*WORDS, "--out", folder)
        assert code in (0, 2)
        if code == 2:
            assert "cannot write" in said
            assert str(small.path) in said
            assert "No space left" in said
        assert not list(small.path.rglob("*.tmp"))
        reached = read_newest(folder / "checkpoints")[0] if folder.exists() else None
        small.empty()
        if not folder.exists():
            assert nchl(*WORDS, "--out", folder)[0] == 0
        elif not (folder / "summary.json").exists():
            notes: list[str] = []
            assert resume(folder, on_note=notes.append).generations == 6
            assert any("begins anew" in note for note in notes) == (reached is None)
        assert results(folder) == results(finished)


def test_a_full_disk_stops_a_resumed_run_as_well(copy: Path, tmp_path: Path, nchl: Callable[..., tuple[int, str]]) -> None:
    with disk(tmp_path / "disk") as small:
        folder = Path(shutil.copytree(copy, small.path / "run"))
        before = {path: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
        small.leave(0)
        code, said = nchl("resume", folder, "--generations", "9")
        assert code == 2
        assert "No space left" in said
        assert {path: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before
        small.empty()
        assert resume(folder, generations=9).generations == 9


def test_a_folder_that_cannot_be_written_to_can_be_read(copy: Path, tmp_path: Path, nchl: Callable[..., tuple[int, str]]) -> None:
    with disk(tmp_path / "disk") as small:
        folder = Path(shutil.copytree(copy, small.path / "run"))
        with small.read_only():
            for words in (["resume", folder, "--generations", "9"], [*WORDS, "--out", small.path / "new"]):
                code, said = nchl(*words)
                assert code == 2
                assert "cannot write" in said
                assert "Read-only file system" in said
                # Only what is a run already can be gone on with.
                assert ("nchl resume" in said) == (words[0] == "resume")
            code, said = nchl("compare", folder, "--evaluate", "--episodes", "2")
            assert code == 2
            assert "cannot write" in said
            assert "name another place" in said
            assert "playing" not in said
            assert "nchl resume" not in said
            assert nchl("evaluate", folder, "--episodes", "2")[0] == 0
            assert nchl("describe", folder)[0] == 0
            load(folder)
        assert results(folder) == results(copy)
        assert resume(folder, generations=7).generations == 7


def test_a_checkpoint_cut_anywhere_gives_way_to_the_one_before(copy: Path) -> None:
    path = newest(copy)
    whole = path.read_bytes()
    for length in range(0, len(whole), 10):
        path.write_bytes(whole[:length])
        checkpoint, problems = read_newest(copy / "checkpoints")
        assert checkpoint is not None
        assert checkpoint.generation == 5
        assert str(path) in problems[0]


def test_a_single_bit_is_noticed(copy: Path) -> None:
    """A sample of the bits of a real checkpoint; the files' own tests flip every byte of a small one."""
    path = newest(copy)
    whole = path.read_bytes()
    good, _ = read_newest(copy / "checkpoints")
    assert good is not None
    chance = random.Random(0)
    unnoticed = 0
    for position in sorted(chance.sample(range(len(whole)), 400)):
        altered = bytearray(whole)
        altered[position] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        checkpoint, problems = read_newest(copy / "checkpoints")
        assert checkpoint is not None
        if checkpoint.generation == 6:  # white space that pads the header
            unnoticed += 1
            assert all((checkpoint.tensors[name] == good.tensors[name]).all() for name in good.tensors)
            assert checkpoint.about == good.about
        else:
            assert str(path) in problems[0]
    assert unnoticed <= 4


def test_a_damaged_checkpoint_is_told_set_aside_and_gone_on_before(
    finished: Path, copy: Path, nchl: Callable[..., tuple[int, str]]
) -> None:
    path = newest(copy)
    path.write_bytes(path.read_bytes()[:-1])
    future = path.with_name("generation-000900.safetensors")  # of an unknown origin; it must not displace good ones
    future.write_bytes(b"\0" * 100)
    code, said = nchl("resume", copy)
    assert code == 0
    for damaged in (path, future):
        assert f"{damaged} is truncated" in said
    assert "the checkpoint before it is used" in said
    assert results(copy) == results(finished)
    assert {item.name for item in (copy / "checkpoints").iterdir()} == {
        "generation-000005.safetensors",
        "generation-000006.safetensors",
        "generation-000900.damaged",
    }


def test_when_all_are_damaged_both_are_named(copy: Path, nchl: Callable[..., tuple[int, str]]) -> None:
    paths = sorted((copy / "checkpoints").iterdir())
    for path in paths:
        path.write_bytes(path.read_bytes()[:100])
    code, said = nchl("resume", copy)
    assert code == 2
    assert all(str(path) in said for path in paths)
    assert [path.stat().st_size for path in paths] == [100, 100]


def test_a_checkpoint_whose_name_denies_its_content_is_not_used(finished: Path, copy: Path, nchl: Callable[..., tuple[int, str]]) -> None:
    path = newest(copy)
    path.rename(path.with_name("generation-000004.safetensors"))
    (copy / "checkpoints" / "generation-000005.safetensors").rename(path)
    code, said = nchl("resume", copy)
    assert code == 2
    assert f"{path} is of generation 5, and its name of another one" in said
    path.rename(copy / "checkpoints" / "generation-000005.safetensors")
    assert nchl("resume", copy)[0] == 0
    assert results(copy) == results(finished)


def test_a_folder_copied_half_way_goes_on_or_names_the_missing_file(
    finished: Path, copy: Path, tmp_path: Path, nchl: Callable[..., tuple[int, str]]
) -> None:
    files = sorted(path.relative_to(copy) for path in copy.rglob("*") if path.is_file())
    orders = [files, files[::-1]]  # by name as `cp` goes, and the other way round
    goes_on = 0
    for number, (order, count) in enumerate(itertools.product(orders, range(len(files) + 1))):
        part = tmp_path / f"part-{number}"
        for name in order[:count]:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(copy / name, part / name)
        if count:  # the copy broke off in the middle of this one
            torn = part / order[count - 1]
            torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
        part.mkdir(exist_ok=True)
        code, said = nchl("resume", part)
        if code == 0:
            goes_on += 1
            centre, best, metrics = results(part)
            whole = results(finished)
            assert (centre, best) == whole[:2]
            if metrics != whole[2]:  # rows that were not copied cannot come back; the user is told
                assert f"{part / 'metrics.csv'} lacks" in said
        else:
            assert code == 2
            assert str(part) in said
    assert goes_on >= 5


def test_clocks_and_dates_reach_no_result(finished: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "checkpoints" / "generation-000006.safetensors").unlink()
    for day, path in enumerate(sorted(copy.rglob("*"))):
        os.utime(path, (4e9 - 1e6 * day, 4e9 - 1e6 * day))  # written in the next century, the newest first
    back = itertools.count(1e9, -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(back))
    monkeypatch.setattr(time, "strftime", lambda *_: "1970-01-01 00:00:00")
    assert resume(copy).generations == 6
    assert results(copy) == results(finished)


def test_links_never_lead_a_run_to_the_files_of_others(copy: Path, tmp_path: Path, nchl: Callable[..., tuple[int, str]]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    events = next((copy / "tensorboard").iterdir())
    for path in (events, copy / "metrics.csv", copy / "centre.safetensors", copy / f".centre.safetensors.{os.getpid()}.tmp"):
        path.unlink(missing_ok=True)
        path.symlink_to(precious)
    (copy / "metrics.csv").unlink()
    assert nchl("resume", copy, "--generations", "7")[0] == 0
    assert precious.read_text() == "precious"
    other = Path(shutil.copytree(copy / "checkpoints", tmp_path / "other"))
    kept = sorted(other.iterdir())
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").symlink_to(other)
    code, said = nchl("resume", copy, "--generations", "9")
    assert code == 2
    assert "symbolic link" in said
    assert sorted(other.iterdir()) == kept


def test_hard_links_of_a_backup_are_not_changed(copy: Path, tmp_path: Path) -> None:
    """Backups made of hard links: cutting the events back must not cut the backup."""
    events = next((copy / "tensorboard").iterdir())
    os.link(events, tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    (copy / "checkpoints" / "generation-000006.safetensors").unlink()
    resume(copy)
    assert (tmp_path / "backup").read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "checkpoints/generation-000006.safetensors", "best.safetensors"])
def test_a_pipe_in_place_of_a_file_does_not_block(copy: Path, nchl: Callable[..., tuple[int, str]], name: str) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes here")
    (copy / name).unlink()
    os.mkfifo(copy / name)
    words = ["evaluate", copy, "--episodes", "1"] if name.startswith("best") else ["resume", copy]
    code, said = nchl(*words)
    assert name.rpartition("/")[2] in said
    assert code == (0 if "generation" in name or name == "metrics.csv" else 2)  # files that can be made again are, with a note
