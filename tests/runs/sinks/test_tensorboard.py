"""The event file: TensorBoard reads it, resumed sessions cut it back, damage ends it, earlier builds' files are continued."""

from __future__ import annotations

import base64
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nchl.runs.sinks.tensorboard import EventFile

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

# Steps 1 to 3 with `fitness/best` = step / 2 and a histogram in the first, as the builds before tensorboard's own writer encoded them.
EARLIER = (
    "eNqTYICAxfXeSpx9O2ZO8Th8y1GKN6koMTNPz7UsNa/EymhKRsE5fyaIuoLnBc84cw9C1Akwah1k4RLm4knLLMlLLS7WT0otLhEFqrLnWsnCxZ"
    "iotZiFE6Ltg70g1CIHSRhDEUJzOGhCGCIORj8YYco7O0AAqA0MPtrPmgkCH+2VwOCT/epVIPDJ3hgMPtvv2Q0Cn+1dwOCL/dkzIPDFPhQMvtrf"
    "uwsCX+3TwOCb/ft3IPDNvqIcBL7bQ+z9YQ+2tuMH1N6fUHt/Qu39ZQ+2dtUvqL2/ofb+htr7B2rvH/swsL1/ofb+hdr7D2rvP6i9/+1hgWEF8z"
    "oMfLBnGBHgg7201PoKJSivQtD2L+efQ9DkxaQliiV1Ndj/KxMpQ9ERdhiqgxmrjgP2XQ43dQDca7wv"
)


def read(folder: Path) -> Any:
    accumulator = accumulators.EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def test_tensorboard_reads_written_and_truncated_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=200)
    events = EventFile(tmp_path, keep=0)
    for step in range(1, 300):
        events.write(step, {"fitness/best": step / 3, "fitness/nan": math.nan}, {"fitness/all": values * step})
    events.close()
    with events.path.open("ab") as file:
        file.write(b"torn")
    events = EventFile(tmp_path, keep=200)
    events.write(201, {"fitness/best": -1.0}, {"fitness/all": np.array([math.nan, 2.0, 2.0])})
    events.close()

    shown = read(tmp_path)
    scalars = shown.Scalars("fitness/best")
    assert [event.step for event in scalars] == list(range(1, 202))
    assert scalars[9].value == pytest.approx(10 / 3)
    assert scalars[-1].value == -1
    assert shown.Tags()["scalars"] == ["fitness/best"]
    histograms = shown.Histograms("fitness/all")
    assert histograms[1].histogram_value.num == 200
    assert histograms[1].histogram_value.max == pytest.approx(values.max() * 2)
    assert sum(histograms[1].histogram_value.bucket) == 200
    assert histograms[-1].histogram_value.num == 2


def test_a_file_of_an_earlier_build_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.0000000000.nchl"
    path.write_bytes(zlib.decompress(base64.b64decode(EARLIER)))
    events = EventFile(tmp_path, keep=2)
    events.write(3, {"fitness/best": 9.0}, {})
    events.close()
    shown = read(tmp_path)
    assert [(event.step, event.value) for event in shown.Scalars("fitness/best")] == [(1, 0.5), (2, 1.0), (3, 9.0)]
    assert [event.step for event in shown.Histograms("a")] == [1]


@pytest.mark.parametrize("damage", ["checksum", "message"])
def test_records_after_a_damaged_one_are_removed(tmp_path: Path, damage: str) -> None:
    events = EventFile(tmp_path, keep=0)
    events.write(1, {"a": 1.0}, {})
    kept = events.path.stat().st_size
    if damage == "message":  # a whole record, but no event in it
        events._records.write(b"\xff" * 20)
    events.write(2, {"a": 2.0}, {})
    events.close()
    data = bytearray(events.path.read_bytes())
    if damage == "checksum":
        data[kept + 14] ^= 1
    events.path.write_bytes(data)
    EventFile(tmp_path, keep=9).close()
    assert events.path.stat().st_size == kept
    assert [event.step for event in read(tmp_path).Scalars("a")] == [1]


def test_a_number_beyond_float32_is_clipped(tmp_path: Path) -> None:
    events = EventFile(tmp_path, keep=0)
    events.write(1, {"a": 1e300, "b": -1e300}, {})
    events.close()
    shown = read(tmp_path)
    assert [shown.Scalars(name)[0].value for name in "ab"] == pytest.approx([3.4e38, -3.4e38])
