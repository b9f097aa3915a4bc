"""From genomes to scores: the population in slices, episodes averaged, seeds by name, NaN for what went wrong.

Nothing here depends on how the population is cut, on threads or on processes: the start of an episode and the initial
weights are functions of (run seed, purpose, generation, episode), and each individual's numbers come from it alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from nchl.errors import InvalidArgument, ShapeError, whole_number
from nchl.perturbations.surgery import Surgery
from nchl.perturbations.surgery import check as check_lesions
from nchl.rollout.play import Played, Recorder, kind, play
from nchl.rollout.statistics import Accumulator, ObservationStatistics, ObservationSums
from nchl.seeds import Purpose, environment_seed, weights_seed
from nchl.simulators.base import Seeds, Start
from nchl.tasks import Task


@dataclass
class Rollout:
    """Scores of a population.

    Attributes:
        fitness: mean of the episodes' returns (P,), float64; NaN where something was not finite.
        returns: (P, episodes), float64.
        lengths: steps of each episode (P, episodes).
        non_finite: number of individuals with an observation, action, reward, weight or rule that was not finite.
        observation_sums: sums of the observations, for the next generation's normalisation; None without normalisation.
        rewards: of each step of the network (P, episodes, steps), float64, 0 after the end of an episode; None where none were kept.
    """

    fitness: Float[np.ndarray, " p"]
    returns: Float[np.ndarray, "p episodes"]
    lengths: Int[np.ndarray, "p episodes"]
    non_finite: int
    observation_sums: ObservationSums | None = None
    rewards: Float[np.ndarray, "p episodes steps"] | None = None

    @property
    def env_steps(self) -> int:
        """Steps taken in the simulator."""
        return int(self.lengths.sum())

    @classmethod
    def concatenate(cls, parts: list[Rollout]) -> Rollout:
        """Put slices of a population together, in the order of the individuals."""
        sums = [part.observation_sums for part in parts if part.observation_sums is not None]
        return cls(
            np.concatenate([part.fitness for part in parts]),
            np.concatenate([part.returns for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            sum(part.non_finite for part in parts),
            ObservationSums.concatenate(sums) if sums else None,
        )


def rollout(
    network: Any,
    task: Task,
    genomes: Any,
    *,
    run_seed: int,
    purpose: Purpose = Purpose.TRAINING,
    generation: int = 0,
    episodes: int = 1,
    statistics: ObservationStatistics | None = None,
    recorder: Recorder | None = None,
    slot: int = 0,
    stop: threading.Event | None = None,
) -> Rollout:
    """Score a population: all individuals meet the same starts and the same initial weights.

    Args:
        network: a plastic network with a population; a larger population is played in slices of that size. It is
            used again and again: do not make a new one for each generation.
        task: the task.
        genomes: (P, nparams) array, or an object with `len()` and `rows(start, stop)` that gives such an array.
        run_seed: the run's seed.
        purpose: training, validation or evaluation; their seeds never meet.
        generation: starts and initial weights are new in each.
        episodes: of each individual; weights begin anew in each.
        statistics: normalisation of observations. They are not changed here: give `observation_sums` to `update` afterwards.
        recorder: keeps the actions.
        slot: tells apart what one process plays in the same generation, call by call (see `Start`); it changes no score.
        stop: set by another thread, it ends the episodes at the next step.

    Raises:
        Interrupted: `stop` was set.
        ShapeError: genomes of another length than the network's, or a network that does not fit the task.
        InvalidArgument: a network without a population, or numbers that cannot be.
    """
    check(network, task)
    population = len(genomes)
    if population < 1 or episodes < 1:
        raise InvalidArgument(f"a rollout needs at least one individual and one episode, got {population} and {episodes}")
    parts = []
    for start in range(0, population, network.population):
        end = min(start + network.population, population)
        rows = np.asarray(genomes.rows(start, end) if hasattr(genomes, "rows") else genomes[start:end])
        sound = _set_rules(network, rows)
        sums: Accumulator | None = None
        played = []
        for episode in range(episodes):
            begin(network, [weights_seed(run_seed, purpose, generation, episode)])
            named = Start(run_seed, purpose, generation, episode, episodes, slot=slot + start)
            seeds = Seeds.shared(end - start, named)
            first = task.reset(seeds)
            if statistics is not None and sums is None:
                sums = Accumulator(end - start, task.observation_shape, first.device)
            how: dict[str, Any] = {"statistics": statistics, "sums": sums, "recorder": recorder, "stop": stop}
            played.append(play(network, task, first, sound, surgery=_surgery(network, task, seeds), **how))
        parts.append(_scores(played, sound, None if sums is None else sums.sums()))
    return Rollout.concatenate(parts)


def evaluate(
    network: Any,
    task: Task,
    genomes: Float[np.ndarray, "*k nparams"],
    *,
    run_seed: int,
    purpose: Purpose = Purpose.EVALUATION,
    generation: int = 0,
    episodes: int = 100,
    statistics: ObservationStatistics | None = None,
    freeze_after: int | Sequence[int] | None = None,
    recorder: Recorder | None = None,
    first_episode: int = 0,
    keep_rewards: bool = False,
    stop: threading.Event | None = None,
) -> Rollout:
    """Score one individual or a few on many starts, all episodes side by side: each has a start and initial weights of its own.

    Args:
        network: a plastic network with a population; so many episodes are played at a time.
        task: the task.
        genomes: (nparams,) or (k, nparams); all k meet the same starts.
        run_seed: seed of the evaluation.
        purpose: validation or evaluation.
        generation: validation after different generations meets different starts.
        episodes: number of episodes of each individual.
        statistics: normalisation of observations.
        freeze_after: number of the network's steps after which the weights stay as they are; or one number for each episode.
        recorder: keeps the actions.
        first_episode: index of the first episode; above 0 for the later part of an evaluation.
        keep_rewards: keep the reward of each step.
        stop: set by another thread, it ends the episodes at the next step.

    Returns:
        Scores of the k individuals: `returns` is (k, episodes).

    Raises:
        Interrupted: `stop` was set.
        ShapeError: `freeze_after` has another length than `episodes`.
    """
    check(network, task)
    if episodes < 1:
        raise InvalidArgument(f"an evaluation needs at least one episode, got {episodes}")
    stays_after = _for_each_episode(freeze_after, episodes)
    genomes = np.atleast_2d(np.asarray(genomes))
    episodes_of = [
        (individual, episode) for individual in range(len(genomes)) for episode in range(first_episode, first_episode + episodes)
    ]
    parts: list[Played] = []
    kept: list[np.ndarray] = []
    for start in range(0, len(episodes_of), network.population):
        chunk = episodes_of[start : start + network.population]
        sound = _set_rules(network, genomes[[individual for individual, _ in chunk]])
        begin(network, [weights_seed(run_seed, purpose, generation, episode) for _, episode in chunk])
        seeds = Seeds.of(environment_seed(run_seed, purpose, generation, episode) for _, episode in chunk)
        first = task.reset(seeds)
        frozen = [] if stays_after is None else [stays_after[episode - first_episode] for _, episode in chunk]
        alike = len(set(frozen)) == 1
        how: dict[str, Any] = {"statistics": statistics, "recorder": recorder, "stop": stop}
        how["freeze_after"] = frozen[0] if alike else None
        how["surgery"] = _surgery(network, task, seeds, None if alike or not frozen else frozen)
        rewards: list[torch.Tensor] | None = [] if keep_rewards else None
        parts.append(play(network, task, first, sound, rewards_of=rewards, **how))
        if rewards is not None:
            # No step at all where no genome of the chunk is finite.
            kept.append(torch.stack(rewards, 1).double().cpu().numpy() if rewards else np.zeros((len(chunk), 0)))
    shape = (len(genomes), episodes)
    returns = np.concatenate([part.returns for part in parts]).reshape(shape)
    lengths = np.concatenate([part.lengths for part in parts]).reshape(shape)
    scores = Rollout(returns.mean(axis=1), returns, lengths, int(np.isnan(returns).any(axis=1).sum()))
    if keep_rewards:
        longest = max(part.shape[1] for part in kept)
        padded = np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1]))) for part in kept])
        scores.rewards = np.nan_to_num(padded, nan=0.0, posinf=0.0, neginf=0.0).reshape(*shape, longest)
    return scores


def _for_each_episode(freeze_after: int | Sequence[int] | None, episodes: int) -> list[int] | None:
    """The step from which on weights stay, for each episode."""
    if freeze_after is None:
        return None
    if np.ndim(freeze_after) == 0:
        return [whole_number(freeze_after, "freeze_after", 0, "steps, or one for each episode")] * episodes
    each = [whole_number(steps, "freeze_after", 0, "steps for each episode") for steps in freeze_after]  # type: ignore[union-attr]
    if len(each) != episodes:
        raise ShapeError(f"freeze_after: expected a number of steps, or one for each of {episodes} episodes, got {len(each)}")
    return each


def _surgery(network: Any, task: Task, seeds: Seeds, freeze: list[int] | None = None) -> Surgery | None:
    """Lesions and freezing of single rows; None where there is neither."""
    lesions = task.plan.of_kind("network")
    if not lesions and freeze is None:
        return None
    steps = None if freeze is None else [step * task.action_repeat for step in freeze]
    return Surgery(network, lesions, seeds.each, steps, task.action_repeat)


def check(network: Any, task: Task) -> None:
    """Refuse a network that cannot play a task.

    Raises:
        InvalidArgument: a network without a population.
        ShapeError: other numbers of inputs or outputs than the task's.
    """
    if network.population is None:
        raise InvalidArgument("a rollout needs a network with a population: build it with population=N")
    check_sizes(network, task)
    check_lesions(task.plan.all, network)


def check_sizes(network: Any, task: Task) -> None:
    """Refuse a network whose numbers of inputs or outputs are not the task's; from here on denormal numbers are flushed.

    Raises:
        ShapeError: names both.
    """
    # Before any other thread is started, so that all inherit it; see nchl.simulators.arithmetic.
    torch.set_flush_denormal(True)
    if tuple(network.input_shape) != task.observation_shape:
        raise ShapeError(f"{task.id} gives observations of shape {task.observation_shape}, the network takes {tuple(network.input_shape)}")
    if network.output_size != task.action_size:
        raise ShapeError(f"{task.id} needs {task.action_size} outputs, the network has {network.output_size}")


def _set_rules(network: Any, rows: Float[np.ndarray, "n nparams"]) -> Bool[np.ndarray, " n"]:
    """Give rules to the first n individuals, zeros to the rest; which of them have finite ones in the network's precision."""
    if rows.ndim != 2 or rows.shape[1] != network.nparams:
        raise ShapeError(f"genomes: expected (population, {network.nparams}), got {rows.shape}")
    with np.errstate(over="ignore"):  # strategies compute in double precision
        rows = rows.astype(np.float64 if kind(network)[0] == torch.float64 else np.float32, copy=False)
    sound: np.ndarray = np.isfinite(rows).all(axis=1)
    if len(rows) < network.population or not sound.all():
        padded = np.zeros((network.population, network.nparams), dtype=rows.dtype)
        padded[np.flatnonzero(sound)] = rows[sound]
        rows = padded
    with torch.no_grad():
        network.set_hrules(rows)
    return sound


def begin(network: Any, seeds: list[int]) -> None:
    """A new lifetime for all individuals: one seed for all, or one for each of the first rows (the rest get the last one's)."""
    drawn = [network.draw_weights(torch.Generator().manual_seed(seed)) for seed in seeds]
    with torch.no_grad():
        if not drawn[0]:
            network.reset()
        elif len(drawn) == 1:
            network.reset(weights=drawn[0])
        else:
            drawn += [drawn[-1]] * (network.population - len(drawn))
            network.reset(weights=[torch.stack(layer) for layer in zip(*drawn, strict=True)])


def _scores(played: list[Played], sound: Bool[np.ndarray, " n"], sums: ObservationSums | None) -> Rollout:
    returns = np.stack([episode.returns for episode in played], axis=1)
    lengths = np.stack([episode.lengths for episode in played], axis=1)
    bad = ~sound | np.any([episode.non_finite for episode in played], axis=0)
    return Rollout(returns.mean(axis=1), returns, lengths, int(bad.sum()), sums)
