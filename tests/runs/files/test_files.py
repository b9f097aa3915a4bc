"""Files that survive faults: atomic, checksummed, and nothing that is read can execute."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nchl.errors import CheckpointError, NchlError, RunError
from nchl.runs.files import writing
from nchl.runs.files.reading import read_text
from nchl.runs.files.tensors import read_tensors, write_tensors
from nchl.runs.files.writing import write_atomically, write_json
from nchl.runs.store.checkpoints import read_checkpoint, read_newest, write_checkpoint

TENSORS = {"genome": np.linspace(-1, 1, 7), "count": np.array(3), "rows": np.ones((2, 3), dtype=np.float32)}


def test_arrays_and_their_description_come_back(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", TENSORS, {"generation": 4, "name": "über"})
    tensors, about = read_tensors(tmp_path / "a.safetensors")
    assert about == {"generation": 4, "name": "über"}
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array)
        assert tensors[name].dtype == array.dtype
        assert tensors[name].shape == array.shape


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    about = {"b": 1, "a": [1, 2], "c": None}
    write_tensors(tmp_path / "1", TENSORS, about)
    write_tensors(tmp_path / "2", dict(reversed(TENSORS.items())), dict(reversed(about.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_file_cut_anywhere_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {"generation": 4})
    whole = path.read_bytes()
    for length in range(0, len(whole), 10):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            read_tensors(path)


def test_a_flipped_bit_anywhere_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {"generation": 4})
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for position in range(len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 1 << int(random.integers(8))
        path.write_bytes(altered)
        try:
            tensors, about = read_tensors(path)
        except CheckpointError:
            continue
        # The one thing that a bit can change unnoticed is white space that pads the header.
        assert about == {"generation": 4}
        assert all(np.array_equal(tensors[name], array) for name, array in TENSORS.items())


def test_a_header_whose_length_looks_like_a_pickle_is_no_pickle(tmp_path: Path) -> None:
    for length in range(1, 800):
        write_tensors(tmp_path / "a", {"genome": np.zeros(1)}, {"padding": "x" * length})
        read_tensors(tmp_path / "a")
        if (tmp_path / "a").read_bytes()[:1] == b"\x80":
            return
    pytest.fail("no header had such a length")


def _pickles() -> dict[str, bytes]:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('a pickle was executed')",)

    buffer = io.BytesIO()
    torch.save({"genome": torch.zeros(3)}, buffer)
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros(3))
    protocols = {f"protocol {number}": pickle.dumps(Bomb(), protocol=number) for number in range(6)}
    return {**protocols, "list": pickle.dumps([1, 2]), "torch": buffer.getvalue(), "npz": archive.getvalue()}


@pytest.mark.parametrize("name", _pickles())
def test_a_pickle_is_never_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(_pickles()[name])
    for reader in (read_tensors, read_text):
        with pytest.raises(NchlError) as caught:
            reader(path)
        assert str(path) in str(caught.value)
        assert "pickle" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 1 << 30) + b"{}",
        struct.pack("<Q", 2**63) + b"x" * 100,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 20) + b'{"__metadata__": {}} ',
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        b"",
    ],
)
def test_odd_headers_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_tensors(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_null_for_numbers_that_are_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [float("inf"), np.float64(2)], "c": {"d": -1.5}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [None, 2.0], "c": {"d": -1.5}}


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RunError, match="not text"):
        read_text(tmp_path / "a.json")
    with pytest.raises(RunError, match="No such file"):
        read_text(tmp_path / "b.json")
    with pytest.raises(RunError, match="bytes"):
        read_text(tmp_path / "a.json", largest=2)


def test_the_newest_two_checkpoints_stay(tmp_path: Path) -> None:
    for generation in (0, 9, 10, 100):
        write_checkpoint(tmp_path, generation, TENSORS, {"reason": None})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generation-000010.safetensors", "generation-000100.safetensors"]
    checkpoint, problems = read_newest(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.generation, checkpoint.about["reason"], problems) == (100, None, [])


def test_an_altered_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, TENSORS, {})
    newest = write_checkpoint(tmp_path, 2, TENSORS, {})
    newest.write_bytes(newest.read_bytes()[:-1])
    checkpoint, problems = read_newest(tmp_path)
    assert checkpoint is not None
    assert checkpoint.generation == 1
    assert len(problems) == 1
    assert str(newest) in problems[0]


def test_when_no_checkpoint_is_whole_that_is_an_error(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1, TENSORS, {})
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_newest(tmp_path)
    assert read_newest(tmp_path / "absent") == (None, [])


def test_a_renamed_checkpoint_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1, TENSORS, {})
    path = path.rename(tmp_path / "generation-000007.safetensors")
    with pytest.raises(CheckpointError, match="and its name of another one"):
        read_checkpoint(path)
