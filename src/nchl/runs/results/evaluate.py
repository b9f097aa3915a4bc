"""Held-out scores of a run's result, and controls for plasticity."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl import rollout
from nchl.errors import InvalidArgument, whole_number
from nchl.rollout import Rollout
from nchl.runs.provenance import machine
from nchl.runs.provenance.environment import digest, notes_on_environment
from nchl.runs.results.dynamics import dynamics_of
from nchl.runs.results.kept import Kept, conditions
from nchl.runs.results.result import read_result
from nchl.runs.search.objects import Objects
from nchl.runs.settings import docs_budget
from nchl.runs.settings.config import EvolveConfig
from nchl.seeds import Purpose
from nchl.tasks import Task, fingerprint
from nchl.workers.build import task_of


def evaluate(
    run: os.PathLike[str] | str,
    *,
    episodes: int = 100,
    seed: int = 10000,
    which: str = "best",
    simulator: str | None = None,
    controls: bool | None = False,
    dynamics: bool = False,
    rule: str | None = None,
    network: Any = None,
    task: Task | None = None,
    perturb: Sequence[str] | str | None = None,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """Returns of a run's result over episodes with different starts and initial weights.

    Evaluation has its own random streams, whatever the seed: no start is one of training or validation, unless two seeds of 31 bits are
    equal by chance (see `nchl.seeds`).

    Args:
        run: the run folder, "zoo:NAME", or the result of `nchl.run`.
        episodes: number of episodes, at least 1.
        seed: of the evaluation; equal seeds give equal starts for any run.
        which: "best" or "centre".
        simulator: None: the run's own.
        controls: also with plasticity off from the first step, and with the weights frozen half-way through an episode; None: for a
            plastic network.
        dynamics: also follow the weights over the first few lifetimes, which are played once more.
        rule: in place of the run's own: "FILE.py:NAME".
        network: the run's, if it was begun with an object that its folder cannot hold.
        task: likewise.
        perturb: perturbations of each episode in place of those of training: texts, "none" for none; None: as in training.
        kept: the file that keeps the episodes for other commands; None: none.

    Returns:
        A JSON object: task, simulator, which, episodes, seed; of the returns mean, std, iqm (interquartile mean), min, max; length (mean,
        in steps of the environment), non_finite (number of episodes that were not finite and are in none of the figures), and returns;
        with `controls` the same figures for `plasticity_off` and `frozen_half_way`, which also has after_steps (steps of the network, one
        for each action, until its weights are frozen). Then its conditions: `versions` of the simulator's packages; `environment`, the
        digest of the Gymnasium environment (see `tasks.fingerprint`; None if the simulator's version identifies it); `code`, the SHA-256
        of each of the user's files; `perturbations`, the sets of which each episode had one (see `perturbations.plan`); and `notes`, lines
        for the user. With `dynamics` also `dynamics`: verdict ("settles", "cycles", "drifts" or None), number (late_share or period), why,
        late_share, autocorrelation, period, explained, counts and per_episode; see `rollout.dynamics`.

    Raises:
        NchlError: no such run or result, or controls for a network that is not plastic.
    """
    episodes, seed = whole_number(episodes, "episodes", 1), whole_number(seed, "seed")
    if dynamics and (network is not None or task is not None):
        raise InvalidArgument("dynamics: expected a run whose folder holds its network and task, got one given as an object; leave it out")
    episodes = docs_budget.at_most("unseen episodes", episodes)
    found = read_result(run, which, rule=rule, given=Objects(network=network, task=task))
    config, about = found.record.settings, found.recipe(perturb)
    played = task_of(about, simulator)
    acting = found.network(about, played, min(episodes, played.largest_slice))
    statistics = found.statistics(played)

    def play(freeze_after: int | None = None) -> Rollout:
        before = None if kept is None else kept.episodes(freeze_after)
        if before is not None:
            return before
        new = rollout.evaluate(
            acting,
            played,
            found.genome,
            run_seed=seed,
            purpose=Purpose.EVALUATION,
            episodes=episodes,
            statistics=statistics,
            freeze_after=freeze_after,
        )
        if kept is not None:
            kept.add(freeze_after, new)
        return new

    try:
        if controls and not acting.plastic:
            raise never_changes(config)
        if kept is not None:
            given = network is not None or task is not None or rule is not None
            kept.begin(None if given else conditions(found, acting, played, which=which, episodes=episodes, seed=seed))
        plastic, environment = play(), fingerprint(played)
        result: dict[str, Any] = {
            "task": config.task,
            "simulator": played.simulator.name,
            "which": which,
            "episodes": episodes,
            "seed": seed,
            **figures(plastic),
            "returns": plastic.returns[0].tolist(),
            "versions": machine.of_simulator(played.simulator.name),
            "environment": digest(environment),
            "code": found.code.digests,
            "perturbations": played.plan.texts if played.plan else [],
            "notes": [*found.notes_on(acting, perturb), *notes_on_environment(found.record, environment)],
        }
        if controls or (controls is None and acting.plastic):
            steps = -(-plastic.lengths // played.action_repeat)  # of the network
            half = max(1, round(float(steps.mean()) / 2))
            result["plasticity_off"] = figures(play(freeze_after=0))
            result["frozen_half_way"] = {"after_steps": half, **figures(play(freeze_after=half))}
        if kept is not None:
            kept.save(acting.backend)
    finally:
        if task is None:
            played.close()
    if dynamics:
        options: dict[str, Any] = {"seed": seed, "which": which, "simulator": simulator, "rule": rule, "perturb": perturb}
        result["dynamics"] = dynamics_of(run, episodes=episodes, **options)
    return result


def never_changes(config: EvolveConfig) -> InvalidArgument:
    """The error for controls of a network that is not plastic."""
    return InvalidArgument(f"controls do not apply to the network {config.network}: its weights never change; leave --controls out")


def figures(played: Rollout) -> dict[str, Any]:
    """Mean, spread and extremes of the finite returns; None if there are none."""
    returns = played.returns[0]
    finite = returns[np.isfinite(returns)]
    about = {"length": float(played.lengths.mean()), "non_finite": int(len(returns) - len(finite))}
    if not len(finite):
        return dict.fromkeys(("mean", "std", "iqm", "min", "max")) | about
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "iqm": interquartile_mean(finite),
        "min": float(finite.min()),
        "max": float(finite.max()),
        **about,
    }


def interquartile_mean(values: Float[np.ndarray, " n"]) -> float:
    """Mean of the values without the lowest and the highest quarter (rounded down to whole values)."""
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())
