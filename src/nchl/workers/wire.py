"""Messages between processes: a JSON header and raw arrays behind a checksum. No pickle: nothing that is read can execute.

magic, header length, payload length, CRC-32 of what follows, CRC-32 of these numbers | header | payload
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from nchl.errors import NchlError

_MAGIC = b"nchl"
_PREFIX = struct.Struct("<4sIQII")
_DTYPES = frozenset(("<f4", "<f8", "<i4", "<i8", "|b1"))
_LONGEST_HEADER = 1 << 26


class Rubbish(NchlError):
    """What came is no message, or not the one that was to come."""


class Message(NamedTuple):
    """What travels: plain data and named arrays."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[bytes]:
    """A message as the chunks to write one after the other."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    described = [[name, array.dtype.str, array.shape] for name, array in whole.items()]
    head = json.dumps({"header": header, "arrays": described}).encode()
    chunks = [head, *(array.tobytes() for array in whole.values())]
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
    numbers = _PREFIX.pack(_MAGIC, len(head), sum(map(len, chunks[1:])), crc, 0)
    prefix = _PREFIX.pack(_MAGIC, len(head), sum(map(len, chunks[1:])), crc, zlib.crc32(numbers))
    return [prefix, *chunks]


def send(pipe: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> int:
    """Write one message; returns its bytes.

    Raises:
        OSError: the other side is gone.
    """
    chunks = pack(header, arrays or {})
    for chunk in chunks:
        pipe.write(chunk)
    pipe.flush()
    return sum(map(len, chunks))


def receive(pipe: IO[bytes]) -> tuple[Message, int]:
    """Read one message, and the number of its bytes.

    Raises:
        EOFError: the other side is gone.
        Rubbish: something else than a message came.
    """
    prefix = _exactly(pipe, _PREFIX.size)
    magic, head, payload, crc, own = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head > _LONGEST_HEADER or own != zlib.crc32(prefix[:-4] + bytes(4)):
        raise Rubbish("what came does not begin like a message")
    body = _exactly(pipe, head + payload)
    if zlib.crc32(body) != crc:
        raise Rubbish("the checksum of a message is wrong")
    return _unpack(body[:head], body[head:]), len(prefix) + len(body)


def _unpack(head: bytes, payload: bytes) -> Message:
    try:
        described = json.loads(head)
        header, arrays, offset = described["header"], {}, 0
        for name, dtype, shape in described["arrays"]:
            if dtype not in _DTYPES or any(not isinstance(n, int) or n < 0 for n in shape):
                raise Rubbish(f"an array of {dtype} and shape {shape}")
            count = int(np.prod(shape, dtype=np.int64))
            arrays[str(name)] = np.frombuffer(payload, np.dtype(dtype), count, offset).reshape(shape)
            offset += arrays[str(name)].nbytes
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Rubbish(f"a message that cannot be read ({error})") from error
    if not isinstance(header, dict) or offset != len(payload):
        raise Rubbish("a message whose parts do not fit")
    return Message(header, arrays)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if data is None or len(data) != size:
        raise EOFError("the other process is gone")
    return data
