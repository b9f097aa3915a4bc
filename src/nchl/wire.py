"""Messages between processes: a JSON header and raw arrays behind a checksum. Reading a message executes nothing (no pickle).

magic, header length, payload length, CRC-32 of header and payload, CRC-32 of these numbers | header | payload
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from nchl.errors import NchlError

_MAGIC = b"nchl"
_PREFIX = struct.Struct("<4sIQII")
_NUMBERS = re.compile(r"[<>|][biuf]\d{1,2}")  # the dtypes of booleans, integers and floating-point numbers
_LONGEST_HEADER = 1 << 26


class ProtocolError(NchlError):
    """The bytes received are not a message, or not the expected one."""


class Message(NamedTuple):
    """Plain data and named arrays."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[bytes]:
    """A message as chunks of bytes, in the order in which they are written."""
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
    """Write one message; returns its size in bytes.

    Raises:
        OSError: the other process has ended.
    """
    chunks = pack(header, arrays or {})
    for chunk in chunks:
        pipe.write(chunk)
    pipe.flush()
    return sum(map(len, chunks))


def receive(pipe: IO[bytes]) -> tuple[Message, int]:
    """Read one message; returns it with its size in bytes.

    Raises:
        EOFError: the other process has ended.
        ProtocolError: the bytes are not a message.
    """
    prefix = _exactly(pipe, _PREFIX.size)
    magic, head, payload, crc, own = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head > _LONGEST_HEADER or own != zlib.crc32(prefix[:-4] + bytes(4)):
        raise ProtocolError("the bytes received do not begin like a message")
    body = _exactly(pipe, head + payload)
    if zlib.crc32(body) != crc:
        raise ProtocolError("the checksum of a message is wrong")
    return _unpack(body[:head], body[head:]), len(prefix) + len(body)


def _unpack(head: bytes, payload: bytes) -> Message:
    try:
        described = json.loads(head)
        header, arrays, offset = described["header"], {}, 0
        for name, dtype, shape in described["arrays"]:
            if not _NUMBERS.fullmatch(dtype) or any(not isinstance(n, int) or n < 0 for n in shape):
                raise ProtocolError(f"a message holds an array of {dtype} and shape {shape}")
            count = int(np.prod(shape, dtype=np.int64))
            arrays[str(name)] = np.frombuffer(payload, np.dtype(dtype), count, offset).reshape(shape)
            offset += arrays[str(name)].nbytes
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"a message cannot be read ({error})") from error
    if not isinstance(header, dict) or offset != len(payload):
        raise ProtocolError("the parts of a message do not fit its size")
    return Message(header, arrays)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if data is None or len(data) != size:
        raise EOFError("the other process has ended")
    return data
