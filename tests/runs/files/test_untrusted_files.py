"""Every reader is handed what an attacker might put in its place. Nothing runs, nothing grows, and a line says why.

A witness file tells whether anything was executed.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nchl.cli import main
from nchl.errors import InvalidArgument, NchlError, RunError
from nchl.rules.kernels import cache
from nchl.runs.files.reading import read_json, read_text
from nchl.runs.files.tensors import read_tensors
from nchl.runs.results.load import load
from nchl.runs.session.resume import resume
from nchl.runs.session.run import run
from nchl.runs.store.checkpoints import read_newest
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import read_metrics
from nchl.simulators.base import Seeds
from reference.runs import SMALL

GIGABYTE = 1 << 30
FILES = ("config.json", "metrics.csv", "best.safetensors", "centre.safetensors", "checkpoints/generation-000006.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run("CartPole-v1", folder, **SMALL)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(finished, tmp_path / "copy"))
    (folder / "summary.json").unlink()
    return folder


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Is there afterwards if any of the payloads ran."""
    return tmp_path / "executed"


class Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


def torch_file(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    torch.save({"genome": payload}, buffer)
    return buffer.getvalue()


def numpy_file(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def zip_bomb(_: Payload) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * (16 << 20))
    return buffer.getvalue()


def deep_json(_: Payload) -> bytes:
    return b"[" * 100_000 + b"]" * 100_000


HOSTILE: dict[str, Callable[[Payload], bytes]] = {
    **{f"pickle {number}": lambda payload, number=number: pickle.dumps(payload, protocol=number) for number in range(6)},
    "torch": torch_file,
    "numpy": numpy_file,
    "zip bomb": zip_bomb,
    "gzip bomb": lambda _: zlib.compress(b"\0" * (16 << 20), 9, wbits=31),
    "header of a gigabyte": lambda _: struct.pack("<Q", GIGABYTE) + b"{}",
    "deep JSON": deep_json,
    "deep JSON as a header": lambda _: struct.pack("<Q", 200_000) + deep_json(_),
    "numbers without end": lambda _: b'{"format": ' + b"9" * 100_000 + b"}",
    "arrays of a gigabyte": lambda _: (
        struct.pack("<Q", 80) + b'{"a":{"dtype":"F64","shape":[134217728],"data_offsets":[0,1073741824]}}'.ljust(80)
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_never_runs_and_never_grows(copy: Path, witness: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words = ["evaluate", str(copy), "--episodes", "1"]
    words += ["--which", "centre"] if name.startswith("centre") else []
    words = ["resume", str(copy)] if name.startswith(("checkpoints", "metrics")) else words
    whole = (copy / name).read_bytes()
    if name.startswith("checkpoints"):
        for other in (copy / "checkpoints").iterdir():  # no good one is left
            if other != copy / name:
                other.unlink()
    for number, (kind, make) in enumerate(HOSTILE.items()):
        (copy / name).write_bytes(make(Payload(witness)))
        capsys.readouterr()
        tracemalloc.start()
        if name == "metrics.csv" and number:  # once as a user would, then only the reader: it is the last thing that a run opens
            with pytest.raises(NchlError) as caught:
                read_metrics(copy / name)
            code, said = 2, str(caught.value)
        elif name.startswith("checkpoints") and number:
            with pytest.raises(NchlError) as caught:
                read_newest(copy / "checkpoints")
            code, said = 2, str(caught.value)
        else:
            code = main(words)
            said = capsys.readouterr().err
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert code == 2, (kind, said)
        assert Path(name).name in said, (kind, said)
        assert len(said) < 1000, kind
        assert "Traceback" not in said
        if kind.startswith(("pickle", "torch")):
            assert "pickle" in said, (kind, said)
        assert peak < 64 << 20, kind
        assert not witness.exists(), kind
    (copy / name).write_bytes(whole)
    assert main(words) == 0


def test_a_file_that_pretends_to_be_huge_is_not_read(tmp_path: Path) -> None:
    """Sparse files: a terabyte that takes no room on the disk."""
    for name, start in (("a.safetensors", struct.pack("<Q", 2) + b"{}"), ("config.json", b"{"), ("metrics.csv", b"generation\n")):
        path = tmp_path / name
        with path.open("wb") as file:
            file.write(start)
            try:
                file.truncate(1 << 40)
            except OSError:
                pytest.skip("this file system takes no file of a terabyte")
        reader = {"a.safetensors": read_tensors, "config.json": read_text, "metrics.csv": read_metrics}[name]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(NchlError, match=name):
            reader(path)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for reader in (read_tensors, read_text):
            with pytest.raises(NchlError, match="cannot read"):
                reader(path)


def test_an_unknown_key_is_named(copy: Path) -> None:
    data = json.loads((copy / "config.json").read_text())
    for change, words in (
        (data | {"colour": 1}, "unknown key 'colour'"),
        (data | {"settings": data["settings"] | {"colour": 1}}, "unknown key 'colour' in the settings"),
        ({key: value for key, value in data.items() if key != "command"}, "key 'command' is missing"),
        (data | {"settings": data["settings"] | {"sigma": "wide"}}, "sigma must be a finite number, got 'wide'"),
        (data | {"settings": []}, "must be an object of options, got list"),
    ):
        (copy / "config.json").write_text(json.dumps(change))
        with pytest.raises(RunError, match=words) as caught:
            RunFolder.open(copy).read_record()
        assert str(copy / "config.json") in str(caught.value)


def test_odd_json_is_refused_in_a_short_line() -> None:
    for text in ("", "null", "[1]", '{"a": NaN', "{" * 50, "[" * 100_000, '{"a": "' + "x" * 100_000):
        with pytest.raises(RunError) as caught:
            read_json(text, file="config.json")
        assert len(str(caught.value)) < 500


RULE = "def oja(pre, post, weight, eta_post):\n    return eta_post * post * (pre - post * weight)\n"
CODE = "from pathlib import Path\nPath({!r}).mkdir()\n" + RULE


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_run_of_somebody_else_cannot_choose_code(
    copy: Path, tmp_path: Path, witness: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evil.py").write_text(CODE.format(str(witness)))
    monkeypatch.syspath_prepend(str(tmp_path))
    whole = json.loads((copy / "config.json").read_text())
    for changes in (
        {"rule": f"{tmp_path}/evil.py:oja"},
        {"rule": f"{copy}/../evil.py:oja"},
        {"network": f"{tmp_path}/evil.py:oja", "hidden": None, "image_size": None, "recurrent": None},
        {"task": "evil:CartPole-v1"},
        {"cluster": "198.51.100.1:6379"},
    ):
        (copy / "config.json").write_text(json.dumps(whole | {"settings": whole["settings"] | changes}))
        for verb in ("resume", "evaluate", "describe"):
            capsys.readouterr()
            assert main([verb, str(copy)]) == 2
            said = capsys.readouterr().err
            assert "runs the code of" in said
            assert "NCHL_TRUST=1" in said
        if "rule" in changes or "network" in changes:
            with pytest.raises(RunError, match="runs the code of"):
                load(copy)
        else:  # needs neither: the spaces are in the record; what plays asks
            _, task = load(copy)
            if "task" in changes:
                with pytest.raises(RunError, match="runs the code of"):
                    task.reset(Seeds.of([0]))
                with pytest.raises(RunError, match="runs the code of"):
                    load(copy, simulator="gymnasium")
        assert not witness.exists()


def test_code_that_the_user_has_chosen_is_known_from_then_on(
    tmp_path: Path, own_cache: Path, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = tmp_path / "mine.py"
    rule.write_text(RULE)
    run("CartPole-v1", tmp_path / "a", **{**SMALL, "generations": 1, "rule": f"{rule}:oja"})
    load(tmp_path / "a")
    assert resume(tmp_path / "a", generations=2).generations == 2
    (own_cache / "known-code").unlink()  # as on another machine
    with pytest.raises(RunError, match="runs the code of"):
        load(tmp_path / "a")
    monkeypatch.setenv("NCHL_TRUST", "1")
    load(tmp_path / "a")
    monkeypatch.delenv("NCHL_TRUST")
    load(tmp_path / "a")
    (own_cache / "known-code").chmod(0o666)  # any user could have written into it
    with pytest.raises(RunError, match="runs the code of"):
        load(tmp_path / "a")


@pytest.mark.parametrize("name", ["evil.pyc", "evil.so", "evil.pkl", "evil"])
def test_only_python_files_are_run(tmp_path: Path, witness: Path, name: str) -> None:
    from nchl import rules

    path = tmp_path / "inner" / name
    path.parent.mkdir()
    path.write_text(CODE.format(str(witness)))
    with pytest.raises(InvalidArgument, match=r"must end in \.py"):
        rules.load(f"{path}:oja")
    assert not witness.exists()


def test_a_rule_that_leaves_the_program_is_an_error(tmp_path: Path) -> None:
    from nchl import rules

    (tmp_path / "exits.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(InvalidArgument, match="could not be run"):
        rules.load(f"{tmp_path}/exits.py:rule")


def test_compiled_code_is_loaded_only_from_where_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good, open_to_all, link = tmp_path / "good", tmp_path / "open", tmp_path / "link"
    monkeypatch.setenv("NCHL_CACHE", str(good))
    assert cache.folder() == good
    assert good.stat().st_mode & 0o777 == 0o700
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setenv("NCHL_CACHE", str(open_to_all))
    private = cache.folder()
    assert private not in (good, open_to_all)
    assert private.stat().st_mode & 0o777 == 0o700
    assert "others may write" in caplog.text
    library = good / "kernels.so"
    library.write_bytes(b"")
    library.chmod(0o755)
    assert cache.objection(library) == ""
    library.chmod(0o775)
    assert "others may write" in cache.objection(library)
    link.symlink_to(library)
    assert "symbolic link" in cache.objection(link)
    if os.getuid() == 0:
        library.chmod(0o755)
        os.chown(library, 12345, 12345)
        assert "belongs to another user" in cache.objection(library)
        good.chmod(0o700)
        os.chown(good, 12345, 12345)
        cache._folder.cache_clear()
        monkeypatch.setenv("NCHL_CACHE", str(good))
        assert cache.folder() != good


def test_what_a_terminal_obeys_is_spelt_out(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "config.json"
    path.write_text(path.read_text().replace("CartPole-v1", "\\u001b[2J\\u009b31mnasty \\ud800"))
    for verb in ("resume", "evaluate", "describe"):
        capsys.readouterr()
        assert main([verb, str(copy)]) == 2
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "\x9b" not in out + err


def test_names_with_dots_and_slashes_stay_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nchl.runs.settings.config import EvolveConfig
    from nchl.runs.settings.places import default_path

    monkeypatch.chdir(tmp_path)
    for task, network in (("../../../etc/passwd", "nchl"), ("a:../..", "../../x.py:../../y"), ("..", "nchl"), ("a\0b\n", "nchl")):
        path = default_path(EvolveConfig.create(task, network=network))
        assert path.parent == Path("runs")
        assert (tmp_path / path).resolve().parent == (tmp_path / "runs").resolve()


def test_names_do_not_become_part_of_a_report(copy: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from nchl.report import page

    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    folder = copy.rename(tmp_path / "<img src=x onerror=alert(3)>")
    data = json.loads((folder / "config.json").read_text())
    data |= {
        "command": ["nchl", evil],
        "started": evil,
        "versions": {"<b>torch</b>": evil},
        "files": {evil: evil},
        "same_bits": {evil: evil},
    }
    (folder / "config.json").write_text(json.dumps(data))
    page.write(folder, tmp_path / "report.html", episodes=0, film=False, microscope=False)
    html = (tmp_path / "report.html").read_text()
    assert "alert(3)" in html  # it is shown, as text
    for piece in ("<script>alert", "<img src=x", "<b>torch"):
        assert piece not in html
