"""Scores on unseen episodes, played once and kept in each run's folder as `evaluation.json`.

The file names what it was computed with: the digest of the individual that played and of each file of the user's own, the simulator and
the environment. It is never taken for the score of anything else: what does not fit is passed over, and played anew by `--evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nchl.report.compare.runs import EVALUATION, digest, read_evaluation
from nchl.runs import environment
from nchl.runs.files import check_writable, write_json
from nchl.runs.folder import RunFolder

EPISODES, SEED = 100, 10_000


def evaluate_runs(
    paths: Iterable[Path], *, episodes: int = EPISODES, seed: int = SEED, on_note: Callable[[str], None] | None = None
) -> None:
    """Let the best individual of each run play unseen episodes, unless it has done so already.

    Args:
        paths: run folders.
        episodes: how many; a kept evaluation with another number or seed is replaced.
        seed: of the starts, the same for all runs.
        on_note: called with a line for each run that plays.

    Raises:
        NchlError: a run that has found nothing yet, or that cannot be played here; or a folder that cannot keep the scores, which
            is found out of all runs before the first of them plays.
    """
    left = [path for path in paths if not _has_played(path, episodes, seed)]
    for path in left:
        check_writable(path)
    for path in left:
        if on_note is not None:
            on_note(f"playing {episodes} unseen episodes with the best individual of {path}")
        result = _play(path, episodes, seed)
        write_json(path / EVALUATION, result, of_a_run=False)
        if on_note is not None:
            for line in result["notes"]:
                on_note(f"{path}: {line}")


def _has_played(path: Path, episodes: int, seed: int) -> bool:
    folder = RunFolder.open(path)
    kept = read_evaluation(folder)
    if kept is None or (kept.get("episodes"), kept.get("seed")) != (episodes, seed):
        return False
    if kept.get("environment") is None:
        return True
    # A score of another environment than the one that lies there now is none of this one.
    now = environment.of_settings(folder.read_record_to_run()[0].settings)
    return bool(kept["environment"] == environment.digest(now))


def _play(path: Path, episodes: int, seed: int) -> dict[str, Any]:
    """The evaluation with the digest of what was played, also of a run that is being written meanwhile."""
    from nchl.runs.evaluate import evaluate

    folder = RunFolder(path)
    while True:
        before = digest(folder.best) if folder.best.is_file() else None
        result = evaluate(path, episodes=episodes, seed=seed)
        if before is not None and digest(folder.best) == before:
            return {"best_sha256": before, **result}
