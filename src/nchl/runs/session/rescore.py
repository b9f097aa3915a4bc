"""New scores of the best individual of a run in a changed environment: the old ones are those of the former environment."""

from __future__ import annotations

from nchl.evolve import Best, Evolution
from nchl.runs.store.checkpoints import write_checkpoint
from nchl.runs.store.folder import RunFolder


def rescore(folder: RunFolder, evolution: Evolution) -> list[str]:
    """Score the best individual in the present environment and save it in a checkpoint; returns lines for the user.

    To be called before the record names the changed environment: a run that is killed in between is refused and scored again.
    """
    before = evolution.best
    if before is None:
        return []
    evolution.rescore()
    write_checkpoint(folder.checkpoints, evolution.generation, *evolution.state())
    had = f"the best individual so far (generation {before.generation}) had {_score(before)} in the former environment"
    if evolution.best is None:
        return [f"{had} and no finite score in this one: it is dropped, and the next generation's best replaces it"]
    return [f"{had} and has {_score(evolution.best)} in this one, which counts from now on"]


def _score(best: Best) -> str:
    return f"a fitness of {best.fitness:.6g}" if best.validated is None else f"a validated mean of {best.validated:.6g}"
