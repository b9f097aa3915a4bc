"""Scalars, histograms and pictures for TensorBoard, in one file per folder.

TensorBoard's own protocol buffers and record writer do the encoding. Its `EventFileWriter` begins a new file in every session and writes
from a thread; this one writes at once and cuts an existing file back to the checkpoint, so that an interrupted run and an
uninterrupted one show the same curves.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from nchl.errors import require
from nchl.runs.files.reading import open_file
from nchl.runs.files.writing import write_atomically, writing_to

_BUCKETS = 30
_LARGEST_RECORD = 1 << 24  # bytes; ours have a few thousand
_LARGEST_SCALAR = 3.4e38  # scalars are float32


class EventFile:
    """Appends events to `events.out.tfevents.0000000000.nchl` in a folder.

    Args:
        folder: created if it does not exist.
        keep: events of later steps are cut off, and so is an incomplete last record.

    Raises:
        MissingExtra: tensorboard is not installed.
        RunError: the file cannot be written.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._event: Any = _library("compat.proto.event_pb2").Event
        self._summary: Any = _library("compat.proto.summary_pb2").Summary
        self.path = folder / "events.out.tfevents.0000000000.nchl"
        with writing_to(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            end = self._end_of_step(keep) if self.path.exists() else 0
            if self.path.is_symlink() or (self.path.exists() and self.path.stat().st_nlink > 1):
                # Truncating it would truncate every file that shares its content, such as a backup made of hard links.
                write_atomically(self.path, self.path.read_bytes()[:end] if end else b"")
            self._file: IO[bytes] = self.path.open("r+b" if self.path.exists() else "w+b")
            self._file.truncate(end)
            self._file.seek(end)
            self._records: Any = _library("summary.writer.record_writer").RecordWriter(self._file)
        if end == 0:
            self._append(file_version="brain.Event:2")

    def write(self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Append the values of one step; scalars and array elements that are not finite are left out.

        Raises:
            RunError: the file cannot be written.
        """
        value = self._summary.Value
        values = [
            value(tag=name, simple_value=float(np.clip(number, -_LARGEST_SCALAR, _LARGEST_SCALAR)))
            for name, number in scalars.items()
            if np.isfinite(number)
        ]
        for name, array in histograms.items():
            finite = np.asarray(array, dtype=np.float64)
            finite = finite[np.isfinite(finite)]
            if finite.size:
                values.append(value(tag=name, histo=_histogram(finite)))
        self._append(step=step, summary=self._summary(value=values))

    def picture(self, step: int, name: str, encoded: bytes, size: tuple[int, int]) -> None:
        """Append a picture.

        Args:
            step: step of the event.
            name: its tag.
            encoded: PNG, or GIF, which TensorBoard animates.
            size: (width, height) in pixels.

        Raises:
            RunError: the file cannot be written.
        """
        width, height = size
        image = self._summary.Image(width=width, height=height, colorspace=3, encoded_image_string=encoded)
        self._append(step=step, summary=self._summary(value=[self._summary.Value(tag=name, image=image)]))

    def close(self) -> None:
        """Close the file."""
        with writing_to(self.path):
            self._file.close()

    def _append(self, **fields: Any) -> None:
        with writing_to(self.path):
            self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())
            self._file.flush()

    def _end_of_step(self, keep: int) -> int:
        """Offset after the last intact record of a step up to `keep`."""
        checksum = _library("compat.tensorflow_stub.pywrap_tensorflow").masked_crc32c
        malformed = require("google.protobuf.message", "sim").DecodeError
        position = 0
        with open_file(self.path) as file:
            while len(head := file.read(12)) == 12:
                (length,) = struct.unpack_from("<Q", head)
                if length > _LARGEST_RECORD:
                    break
                message, tail = file.read(length), file.read(4)
                if len(message) < length or tail != struct.pack("<I", checksum(message)):
                    break
                try:
                    if self._event.FromString(message).step > keep:
                        break
                except malformed:
                    break
                position += length + 16
        return position


def _library(module: str) -> Any:
    return require(f"tensorboard.{module}", "sim")


def _histogram(values: np.ndarray) -> Any:
    """The `HistogramProto` of finite values."""
    counts, edges = np.histogram(values, bins=_BUCKETS)
    return _library("compat.proto.histogram_pb2").HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        # TensorBoard takes the left edge of the first full bucket from an empty one before it.
        bucket_limit=edges,
        bucket=[0, *counts],
    )
