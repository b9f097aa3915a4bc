"""Arrays and a JSON object about them in one safetensors file, with a checksum over both."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nchl.errors import CheckpointError
from nchl.runs.files.reading import open_file, refuse_pickle, short
from nchl.runs.files.writing import write_atomically

# safetensors may order several metadata keys arbitrarily; one key with sorted JSON in it gives equal runs equal bytes.
_KEY = "nchl"
_LARGEST_HEADER = 16 << 20


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays and a JSON object about them atomically."""
    write_atomically(path, tensor_bytes(tensors, about))


def tensor_bytes(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> bytes:
    """The content of the file that `write_tensors` writes."""
    arrays = {name: np.array(array, order="C", copy=True) for name, array in tensors.items()}
    text = json.dumps({**about, "sha256": _digest(arrays, about)}, sort_keys=True)
    return save(arrays, {_KEY: text})


def read_tensors(path: Path, *, of_others: bool = False) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays in a file of `write_tensors`, and the JSON object about them.

    Args:
        path: the file.
        of_others: also read a safetensors file of another program, which has no checksum; its JSON object is empty.

    Raises:
        CheckpointError: another file, truncated, altered, or a pickle; the message names the file and which it is.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(64)
            if start[8:9] != b"{":  # the beginning of a header; the length before it may look like the first bytes of a pickle
                refuse_pickle(path, start)
            header = int.from_bytes(start[:8], "little")
            if size < 8 or header > size - 8 or header > _LARGEST_HEADER:
                raise CheckpointError(f"{path} is truncated or not safetensors: {size} bytes do not hold the header that they announce")
            file.seek(8)
            described = json.loads(file.read(header))
            if size != 8 + header + _payload(described):  # checked before so many bytes are read
                raise CheckpointError(f"{path} is truncated or altered: it has {size} bytes, and its header announces another number")
            file.seek(0)
            data = file.read(size)
        tensors = load(data)
        if of_others and _KEY not in described.get("__metadata__", {}):
            return tensors, {}
        about = json.loads(described["__metadata__"][_KEY])
        stated = about.pop("sha256")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path} is truncated, altered, or not written by nchl ({short(error)})") from error
    if stated != _digest(tensors, about):
        raise CheckpointError(f"{path} was altered after it was written: its checksum does not match its content")
    return tensors, about


def _payload(described: Mapping[str, Any]) -> int:
    """Bytes of all arrays, according to a safetensors header."""
    return max((int(about["data_offsets"][1]) for name, about in described.items() if name != "__metadata__"), default=0)


def _digest(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """SHA-256 over the JSON object and the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
