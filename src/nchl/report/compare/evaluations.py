"""Scores on unseen episodes, kept in each run folder as `evaluation.json`.

The file records the digests of the individual and of the user's files, the simulator with the versions of its packages, the environment
and the perturbations. A file that does not match the run folder, or what is asked for, is ignored, and `--evaluate` replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from nchl import zoo
from nchl.errors import InvalidArgument, RunError
from nchl.report.compare.runs import EVALUATION, digest, read_evaluation
from nchl.report.formatting import listed
from nchl.runs.files.writing import check_writable, write_json
from nchl.runs.provenance import environment, machine
from nchl.runs.settings.perturbation_options import sets_of
from nchl.runs.store.folder import RunFolder

EPISODES, SEED = 100, 10_000


def evaluate_runs(
    paths: Iterable[Path],
    *,
    episodes: int = EPISODES,
    seed: int = SEED,
    perturb: Sequence[str] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> None:
    """Evaluate the best individual of each run on unseen episodes, unless its folder has that evaluation already.

    Args:
        paths: run folders.
        episodes: number of episodes; an evaluation with another number, another seed or other perturbations is replaced.
        seed: seed of the starts, the same for all runs.
        perturb: perturbations of each episode in place of those of training: texts, "none" for none; None: as in training.
        on_note: called with a line for each run that is evaluated.

    Raises:
        NchlError: a run has no best individual yet or cannot be played here, or (checked for all runs first) a folder is not writable.
    """
    left = {path: why for path in paths if (why := _missing(path, episodes, seed, perturb)) is not None}
    for path in left:
        if zoo.name_of(path) is not None:
            raise InvalidArgument(
                f"{path} holds one evaluation ({EPISODES} episodes, seed {SEED}, the environment and perturbations that it was evolved in) "
                "and cannot keep another; leave out --episodes and --perturb, or play others with `nchl evaluate`"
            )
        check_writable(path)
    lacking = [path for path in left if not RunFolder.open(path).best.is_file()]
    for path, why in left.items():
        if path in lacking:
            continue
        if on_note is not None:
            on_note(f"playing {episodes} unseen episodes with the best individual of {path}{why}")
        result = _play(path, episodes, seed, perturb)
        write_json(path / EVALUATION, result, of_a_run=False)
        if on_note is not None:
            for line in result["notes"]:
                on_note(f"{path}: {line}")
    if lacking:
        raise RunError(
            f"{len(lacking)} of {len(left)} runs to be evaluated have no best individual yet, and the others were evaluated: "
            f"{listed(lacking)}; go on with `nchl resume`, or leave them out"
        )


def _missing(path: Path, episodes: int, seed: int, perturb: Sequence[str] | None) -> str | None:
    """Whether the evaluation is still to be made, and why the one that is there does not count, in words; None if it is there."""
    folder = RunFolder.open(path)
    kept = read_evaluation(folder)
    if kept is None or (kept.get("episodes"), kept.get("seed")) != (episodes, seed):
        return ""
    config = folder.read_record().settings
    if tuple(kept.get("perturbations", sets_of(config))) != sets_of(config, perturb):
        return ""
    # The zoo's scores are those of the versions that it was made with. A package that is not installed cannot play anything else.
    now = {} if zoo.name_of(path) is not None else machine.versions()
    before = kept.get("versions", {})
    if changed := [f"{name} {before[name]} (here is {now[name]})" for name in before if now.get(name, before[name]) != before[name]]:
        return f"; the evaluation that is there is of {listed(changed)}"
    if kept.get("environment") is None:
        return None
    from nchl.runs.search.recipe import environment_of  # imports torch

    # The environment's files may have changed since.
    same = kept["environment"] == environment.digest(environment_of(folder.read_trusted()[0].settings))
    return None if same else "; its environment has changed"


def _play(path: Path, episodes: int, seed: int, perturb: Sequence[str] | None) -> dict[str, Any]:
    """The evaluation with the digest of its individual, which a run in progress may replace meanwhile."""
    from nchl.runs.results.evaluate import evaluate
    from nchl.runs.results.kept import Kept

    folder = RunFolder(path)
    while True:
        before = digest(folder.best) if folder.best.is_file() else None
        result = evaluate(path, episodes=episodes, seed=seed, perturb=perturb, kept=Kept(folder))
        if before is not None and digest(folder.best) == before:
            return {"best_sha256": before, **result}
