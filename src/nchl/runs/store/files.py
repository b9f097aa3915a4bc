"""Reading and writing so that no fault loses the last good state and nothing that is read can execute.

Writing: beside the file, fsync, rename, fsync of the folder; whoever looks, and whenever the power goes, finds the old
file or the new one. Reading: JSON and safetensors only; a file that holds a pickle is refused unread.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nchl.errors import CheckpointError, RunError

# safetensors may order several metadata keys anyhow; one key with sorted JSON in it gives equal runs equal bytes.
_KEY = "nchl"
_LARGEST_HEADER = 16 << 20


def write_atomically(path: Path, data: bytes, *, of_a_run: bool = True) -> None:
    """Replace a file by new content, whole or not at all, and on the disk when this returns.

    Args:
        path: the file.
        data: its new content.
        of_a_run: whether a run is writing, which can be resumed.

    Raises:
        RunError: the disk is full or the folder cannot be written to; the old file is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:  # a file of our own: what lay there could be a link to anywhere
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise cannot_write(path, error, of_a_run=of_a_run) from error


def cannot_write(path: Path, error: OSError, *, of_a_run: bool = True) -> RunError:
    """The error for a file that could not be written: the system's reason, and that nothing earlier of a run is lost."""
    if not of_a_run:
        return RunError(f"cannot write {path}: {error.strerror or error}; make room, give write permission, or name another place")
    return RunError(
        f"cannot write {path}: {error.strerror or error}. What the run had saved before is untouched; "
        "make room or give write permission, then continue with `nchl resume` (a run of SoftHebb: `nchl softhebb --resume`)"
    )


def check_writable(folder: Path) -> None:
    """Find out whether files can be made in a folder, before hours are spent on what is to lie there.

    Raises:
        RunError: they cannot.
    """
    probe = folder / f".{os.getpid()}.tmp"
    try:
        probe.unlink(missing_ok=True)
        probe.open("xb").close()
        probe.unlink()
    except OSError as error:
        raise cannot_write(folder, error, of_a_run=False) from error


def write_json(path: Path, data: Mapping[str, Any], *, of_a_run: bool = True) -> None:
    """Write an object as readable JSON; see `write_atomically`. NaN and infinity become null, which JSON has instead."""
    write_atomically(path, (json.dumps(_finite(data), indent=2, allow_nan=False) + "\n").encode(), of_a_run=of_a_run)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays and a JSON object about them as safetensors, atomically, with a checksum over both."""
    arrays = {name: np.array(array, order="C", copy=True) for name, array in tensors.items()}
    text = json.dumps({**about, "sha256": _digest(arrays, about)}, sort_keys=True)
    write_atomically(path, save(arrays, {_KEY: text}))


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a file by `write_tensors`, and the JSON object about them.

    Raises:
        CheckpointError: not such a file, truncated, altered, or a pickle; the message names the file and which it is.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(64)
            if start[8:9] != b"{":  # where a header begins; the length before it may look like anything, a pickle's first bytes too
                refuse_pickle(path, start)
            header = int.from_bytes(start[:8], "little")
            if size < 8 or header > size - 8 or header > _LARGEST_HEADER:
                raise CheckpointError(f"{path} is truncated or no safetensors file: {size} bytes do not hold the header that they announce")
            file.seek(8)
            described = json.loads(file.read(header))
            if size != 8 + header + _payload(described):  # before so many bytes are read
                raise CheckpointError(f"{path} is truncated or altered: it has {size} bytes, and its header speaks of another number")
            file.seek(0)
            data = file.read(size)
        about = json.loads(described["__metadata__"][_KEY])
        stated = about.pop("sha256")
        tensors = load(data)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path} is truncated, altered, or not written by nchl ({_short(error)})") from error
    if stated != _digest(tensors, about):
        raise CheckpointError(f"{path} was altered after it was written: its checksum does not match its content")
    return tensors, about


def open_file(path: Path) -> BinaryIO:
    """Open a plain file for reading; a pipe, which would keep us waiting, or a device, which might never end, is an `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file")
    return os.fdopen(descriptor, "rb")


def refuse_pickle(path: Path, start: bytes) -> None:
    """Refuse a file that begins like a pickle or like one of the archives that hold pickles.

    Raises:
        CheckpointError: it does; reading a pickle can run any program.
    """
    protocol = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
    textual = start[:2] in (b"(d", b"(l", b"(i", b"]q", b"}q") or (start[:1] == b"c" and b"\n" in start)
    if protocol or textual or start[:4] == b"PK\x03\x04":
        raise CheckpointError(
            f"{path} holds a pickle or an archive, as torch.save and numpy.save write them, and not safetensors. "
            "Reading one can run any program that its author put there, so nchl never does. "
            "Convert it in a place that you trust, with safetensors.numpy.save_file"
        )


def read_text(path: Path, *, largest: int = 16 << 20) -> str:
    """The text of a small file.

    Raises:
        RunError: it cannot be read, is no text, is far too large, or holds a pickle.
    """
    try:
        with open_file(path) as file:
            refuse_pickle(path, file.read(64))
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise RunError(f"{path} has {size} bytes; a file of its kind has at most {largest}")
            file.seek(0)
            data = file.read(size)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is not text: byte {error.start} is not UTF-8") from error


def read_json(text: str, *, file: Path | str) -> Mapping[str, Any]:
    """An object from a JSON text, or `RunError` that names the file, what is wrong, and where."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{file} is not readable JSON ({_short(error)}); restore it from a copy: the run cannot be continued without it"
        ) from error
    if not isinstance(data, dict):
        raise RunError(f"{file} must hold one JSON object, got {type(data).__name__}")
    return data


def _payload(described: Mapping[str, Any]) -> int:
    """Bytes of all arrays, as a safetensors header describes them."""
    return max((int(about["data_offsets"][1]) for name, about in described.items() if name != "__metadata__"), default=0)


def _short(error: BaseException) -> str:
    """What an error says, where it does not repeat the whole file."""
    return f"{type(error).__name__}: {str(error)[:200]}"


def _digest(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and bytes of all arrays, and over what is said about them."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is on the disk with the file
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
