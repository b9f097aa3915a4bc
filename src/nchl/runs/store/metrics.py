"""`metrics.csv`: one row per generation, written when the generation ends, truncated when a run is resumed.

The columns are fixed. Those that depend on the machine are `seconds` and names that end in `_seconds`, `_per_s` or `_mb`; all others are
equal, digit for digit, in equal runs. An absent number is an empty cell.
"""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nchl.errors import RunError
from nchl.runs.files.reading import read_text
from nchl.runs.files.writing import write_atomically, writing_to

# Name -> description; the documentation's table is made from here.
COLUMNS = {
    "generation": "number of the generation, from 1",
    "evaluations": "individuals evaluated since the start",
    "env_steps": "environment steps of the search since the start, validation left out",
    "seconds": "wall-clock seconds since the start, those of earlier sessions included",
    "best": "highest fitness in this generation",
    "mean": "mean fitness of this generation",
    "std": "standard deviation of the fitness in this generation",
    "best_so_far": "highest fitness of any generation so far",
    "sigma": "standard deviation of the search in this generation",
    "lr": "learning rate of the search in this generation",
    "non_finite": "individuals of this generation with an episode that was not finite",
    "length": "mean episode length in this generation, in steps",
    "validation_best": "mean return of this generation's best over its validation episodes",
    "validation_centre": "mean return of the centre over the validation episodes",
    "evaluate_seconds": "seconds spent in the rollouts of this generation",
    "search_seconds": "seconds spent in the strategy's ask and tell",
    "steps_per_s": "environment steps per second in the rollouts of this generation",
    "sent_mb": "mebibytes sent to workers in this generation; 0 without workers",
    "received_mb": "mebibytes received from them",
    "resident_mb": "largest resident memory of the process so far, in mebibytes",
}


def is_machine_column(name: str) -> bool:
    """Whether a column may differ between equal runs."""
    return name == "seconds" or name.endswith(("_seconds", "_per_s", "_mb"))


class MetricsFile:
    """Appends rows to `metrics.csv`, each flushed as a whole line.

    Args:
        path: the file; it is created, with its header, if it does not exist.
        keep: rows of later generations are removed, and so is a torn last line.

    Attributes:
        notes: lines for the user, for example that rows are missing.
    """

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path = path
        rows = _truncate(path, keep)
        self.notes = [f"{path} lacks {keep - rows} of the {keep} generations before this session"] if rows < keep else []
        with writing_to(path):
            self._file = path.open("a", encoding="utf-8", newline="")

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; keys must be the columns.

        Raises:
            RunError: the disk is full or not writable.
        """
        with writing_to(self.path):
            self._file.write(_line([_cell(row[name]) for name in COLUMNS]))
            self._file.flush()

    def sync(self) -> None:
        """Bring all rows to the disk: a checkpoint must not be newer than its metrics."""
        with writing_to(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with writing_to(self.path):
            self._file.close()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows as text; see `COLUMNS`. A torn last line is left out.

    Raises:
        RunError: the file cannot be read or is not a table of metrics.
    """
    text = read_text(path, largest=1 << 30)
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    try:
        if reader.fieldnames is None or "generation" not in reader.fieldnames:
            raise RunError(f"{path} is not a table of metrics: its first line must name the columns, with `generation` among them")
        return list(reader)
    except csv.Error as error:
        raise RunError(f"{path} was altered: row {reader.line_num} is not a row of a table ({error})") from error


def resident_mb() -> float:
    """Largest resident memory of this process so far, in mebibytes; NaN if the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1 << 20) if sys.platform == "darwin" else largest / 1024


def _truncate(path: Path, keep: int) -> int:
    """Rewrite the file with the rows up to a generation; returns their number."""
    rows = read_metrics(path) if path.exists() and path.stat().st_size else []
    if rows and list(rows[0]) != list(COLUMNS):
        raise RunError(f"{path} has other columns than this version of nchl writes; continue the run with the version that began it")
    try:
        kept = [[row[name] for name in COLUMNS] for row in rows if int(row["generation"]) <= keep]
        if any(not isinstance(cell, str) for row in kept for cell in row):
            raise ValueError("a row with too few cells")
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} was altered: a row without a generation number, or without all cells") from error
    write_atomically(path, "".join(map(_line, [list(COLUMNS), *kept])).encode())
    return len(kept)


def _line(cells: list[str]) -> str:
    return ",".join(cells) + "\n"


def _cell(value: Any) -> str:
    """The shortest text that reads back as the same number; empty for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(int(value))
