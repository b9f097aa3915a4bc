"""Scalars and histograms for TensorBoard, in one file that a resumed run cuts back to its checkpoint and goes on with.

The format is small: records of (length, checksum, protobuf message, checksum), see TensorFlow's `record_writer.cc` and
`event.proto`, `summary.proto`. Written here, it costs no import, needs no package, and can be truncated exactly.
Wall-clock time goes into the events, and nowhere from there.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from nchl.runs.files import cannot_write, open_file, write_atomically

_BUCKETS = 30
_LARGEST_RECORD = 1 << 24  # bytes; ours have a few thousand


class EventFile:
    """Appends events to `events.out.tfevents.0000000000.nchl` in a folder.

    Args:
        folder: made if there is none.
        keep: events of steps after this one are cut off, with a torn last record if there is one.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.path = folder / "events.out.tfevents.0000000000.nchl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            end = _end_of_step(self.path, keep) if self.path.exists() else 0
            if self.path.is_symlink() or (self.path.exists() and self.path.stat().st_nlink > 1):
                # Cutting it back would cut the file that it shares its content with: a backup, or anything else.
                write_atomically(self.path, self.path.read_bytes()[:end] if end else b"")
            self._file: IO[bytes] = self.path.open("r+b" if self.path.exists() else "w+b")
            self._file.truncate(end)
            self._file.seek(end)
            if end == 0:
                self._write(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))
                self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Append the values of one step; scalars and array elements that are not finite are left out."""
        values = [_bytes(1, name.encode()) + _float(2, value) for name, value in scalars.items() if np.isfinite(value)]
        for name, array in histograms.items():
            finite = np.asarray(array, dtype=np.float64)
            finite = finite[np.isfinite(finite)]
            if finite.size:
                values.append(_bytes(1, name.encode()) + _bytes(5, _histogram(finite)))
        self._summary(step, values)

    def picture(self, step: int, name: str, encoded: bytes, size: tuple[int, int]) -> None:
        """Append a picture, (width, height) pixels, encoded as PNG or as GIF, which TensorBoard shows moving."""
        image = _varint_field(1, size[1]) + _varint_field(2, size[0]) + _varint_field(3, 3) + _bytes(4, encoded)
        self._summary(step, [_bytes(1, name.encode()) + _bytes(4, image)])

    def _summary(self, step: int, values: list[bytes]) -> None:
        summary = b"".join(_bytes(1, value) for value in values)
        try:
            self._write(_double(1, time.time()) + _varint_field(2, step) + _bytes(5, summary))
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _write(self, message: bytes) -> None:
        length = struct.pack("<Q", len(message))
        self._file.write(length + _checksum(length) + message + _checksum(message))


def _end_of_step(path: Path, keep: int) -> int:
    """Offset behind the last whole record of a step that is kept."""
    position = 0
    with open_file(path) as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack_from("<Q", head)
            if length > _LARGEST_RECORD:
                break
            message, tail = file.read(length), file.read(4)
            if len(message) < length or tail != _checksum(message) or _step(message) > keep:
                break
            position += length + 16
    return position


def _step(message: bytes) -> int:
    """The step of an event (field 2); 0 where it has none."""
    for number, value in _fields(message):
        if number == 2 and isinstance(value, int):
            return value
    return 0


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _read_varint(message, position)
            yield key >> 3, value
            continue
        if kind == 2:
            size, position = _read_varint(message, position)
        else:
            size = 8 if kind == 1 else 4
        yield key >> 3, message[position : position + size]
        position += size


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            break
    return value, position


def _histogram(values: np.ndarray) -> bytes:
    """`HistogramProto`: min, max, num, sum, sum of squares, upper bucket limits, counts."""
    counts, edges = np.histogram(values, bins=_BUCKETS)
    # A first bucket that is empty tells TensorBoard where the first full one begins.
    counts, limits = np.concatenate([[0], counts]).astype(np.float64), edges.astype(np.float64)
    moments = (values.min(), values.max(), values.size, values.sum(), np.square(values).sum())
    head = b"".join(_double(number, float(value)) for number, value in enumerate(moments, start=1))
    return head + _bytes(6, limits.astype("<f8").tobytes()) + _bytes(7, counts.astype("<f8").tobytes())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    # A float32 beyond its range would be an error of struct's; it is clipped, as a plot would.
    return _varint(number << 3 | 5) + struct.pack("<f", float(np.clip(value, -3.4e38, 3.4e38)))


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def _checksum(data: bytes) -> bytes:
    """CRC-32C, masked as TensorFlow's records want it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
