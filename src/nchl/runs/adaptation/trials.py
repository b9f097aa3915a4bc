"""A run's result on unseen starts, intact and perturbed: as evolved, with plasticity off, and with the weights frozen at the perturbation.

The intact twin of an episode has the same start, initial weights and simulator, and is frozen at the same step. So two factors are crossed:
plasticity and perturbation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from nchl import rollout
from nchl.errors import InvalidArgument
from nchl.perturbations import Plan, plan
from nchl.perturbations.draws import decision_of
from nchl.perturbations.language import parse_all
from nchl.perturbations.suites import Suite
from nchl.runs.results.result import Result, read_result
from nchl.runs.settings import docs_budget
from nchl.runs.settings.perturbation_options import suite_of
from nchl.seeds import Purpose, environment_seed
from nchl.tasks import Task
from nchl.workers.build import task_of

CONTROLS = ("as evolved", "plasticity off", "frozen")


@dataclass(frozen=True)
class Episodes:
    """Rewards of some episodes. Steps are the network's: several of the environment if actions are repeated.

    Attributes:
        rewards: of each step, 0 after the end of an episode.
        lengths: steps of each.
        returns: NaN for an episode that was not finite.
    """

    rewards: Float[np.ndarray, "episodes steps"]
    lengths: Int[np.ndarray, " episodes"]
    returns: Float[np.ndarray, " episodes"]


@dataclass(frozen=True)
class Trial:
    """One individual under one perturbation and one control, beside its intact twin.

    Attributes:
        perturbation: its label.
        text: its text.
        control: one of `CONTROLS`.
        moments: the step of the perturbation in each episode.
        intact: the episodes without it.
        perturbed: the episodes with it.
        repeat: steps of the environment for each of the network's.
    """

    perturbation: str
    text: str
    control: str
    moments: Int[np.ndarray, " episodes"]
    intact: Episodes
    perturbed: Episodes
    repeat: int = 1

    @property
    def sound(self) -> Bool[np.ndarray, " episodes"]:
        """Which episodes were finite, and their twins too."""
        sound: np.ndarray = np.isfinite(self.perturbed.returns) & np.isfinite(self.intact.returns)
        return sound


@dataclass(frozen=True)
class Asked:
    """The perturbations to be tried.

    Attributes:
        suite: the suite's name, or "perturb" for those that were given one by one.
        source: of the suite.
        perturbations: label -> text.
    """

    suite: str
    source: str
    perturbations: Mapping[str, str]

    @classmethod
    def of(cls, suite: str | Suite | None, perturb: Sequence[str] | str | None, task: str) -> Asked:
        """The perturbations of a suite and of single texts together.

        Args:
            suite: a name, a YAML file, or an object.
            perturb: texts, each tried alone (`A & B` are two at once).
            task: the runs' task.

        Raises:
            InvalidArgument: neither, no such suite, a suite for another task, or a text that is not a perturbation.
        """
        if not suite and not perturb:
            raise InvalidArgument("adapt needs perturbations: --suite lesions, or --perturb lesion:weights=1@100; see docs/adaptation.md")
        found: dict[str, str] = {}
        chosen = None if not suite else suite_of(suite)
        if chosen is not None:
            chosen.check_task(task)
            found |= chosen.perturbations
        for text in [perturb] if isinstance(perturb, str) else perturb or ():
            if text in found:
                raise InvalidArgument(f"perturbation {text!r} is given twice; keep one")
            found[text] = text
        for label, text in found.items():
            if not parse_all(text):
                raise InvalidArgument(f"perturbation {label!r}: it changes nothing; the intact twin is played in any case")
        return cls("perturb" if chosen is None else chosen.name, "" if chosen is None else chosen.source, found)


def trials(
    run: os.PathLike[str] | str,
    asked: Asked,
    *,
    episodes: int = 100,
    seed: int = 10000,
    which: str = "best",
    simulator: str | None = None,
    controls: Sequence[str] = CONTROLS,
    on_note: Callable[[str], None] | None = None,
) -> list[Trial]:
    """Evaluate a run's result under each perturbation and each control.

    Args:
        run: the run folder. Its perturbations of training are not used here.
        asked: the perturbations.
        episodes: of each; episode k has the same start everywhere.
        seed: of the evaluation, as in `evaluate`.
        which: "best" or "centre".
        simulator: None: the run's own, or the one that a perturbation needs.
        controls: of `CONTROLS`; a network with constant weights has the first alone. Frozen from the start on in every episode is
            plasticity off, and is played under that name alone.
        on_note: called with lines for the user.

    Raises:
        NchlError: no such run or result, or a perturbation that the task or the network does not support.
    """
    if episodes < 1 or seed < 0:
        raise InvalidArgument(f"episodes must be at least 1 and seed at least 0, got {episodes} and {seed}")
    found = read_result(run, which)
    stage = _Stage(found, simulator, docs_budget.at_most("unseen episodes", episodes), seed, on_note or (lambda line: None))
    made: list[Trial] = []
    # All tasks are made before the first is played, so that a wrong name is an error at once.
    tasks = {label: stage.task(text) for label, text in asked.perturbations.items()}
    try:
        for label, text in asked.perturbations.items():
            task = tasks[label]
            moments = stage.moments(text)
            plastic = stage.network(task).plastic
            for control in _distinct(controls, moments) if plastic else CONTROLS[:1]:
                freeze = {CONTROLS[0]: None, CONTROLS[1]: np.zeros_like(moments), CONTROLS[2]: moments}[control]
                intact, perturbed = stage.intact(task, freeze), stage.play(task, freeze)
                made.append(Trial(label, text, control, moments, intact, perturbed, task.action_repeat))
            task.close()  # the simulators of many perturbations take much memory
    finally:
        stage.close()
    return made


def _distinct(controls: Sequence[str], moments: Int[np.ndarray, " episodes"]) -> list[str]:
    """The controls without one that would play the same as another."""
    return [control for control in controls if control != CONTROLS[2] or moments.any() or CONTROLS[1] not in controls]


class _Stage:
    """A run's result with its tasks; equal evaluations are played once."""

    def __init__(self, found: Result, simulator: str | None, episodes: int, seed: int, on_note: Callable[[str], None]) -> None:
        self._found, self._simulator, self._episodes, self._seed, self._note = found, simulator, episodes, seed, on_note
        self._recipe = replace(found.recipe(), perturb=(), perturb_training=())
        self._seeds = [environment_seed(seed, Purpose.EVALUATION, 0, episode) for episode in range(episodes)]
        self._tasks: dict[str, Task] = {}
        self._intact: dict[tuple[str, bytes | None], Episodes] = {}
        self._network: Any = None
        self._said: set[str] = set()

    def task(self, text: str, simulator: str | None = None) -> Task:
        """The task with a perturbation; "none": without."""
        key = f"{text} on {simulator}"
        if key not in self._tasks:
            self._tasks[key] = task_of(replace(self._recipe, perturb=(text,)), simulator or self._simulator)
            for note in self._tasks[key].notes:
                self._tell(note)
        return self._tasks[key]

    def moments(self, text: str) -> Int[np.ndarray, " episodes"]:
        """The network's step of the first perturbation in each episode."""
        repeat = self._recipe.action_repeat
        found: Plan = plan(text)
        return np.array([min(decision_of(each, seed, repeat) for each in found.all) for seed in self._seeds])

    def network(self, task: Task) -> Any:
        """The networks, one for each of the episodes that are played side by side."""
        if self._network is None:
            self._network = self._found.network(self._recipe, task, min(self._episodes, task.largest_slice))
            for note in self._found.notes_on(self._network, "none"):
                self._tell(note)
        return self._network

    def intact(self, task: Task, freeze: np.ndarray | None) -> Episodes:
        """The intact twins, on the simulator of a perturbed task."""
        key = task.simulator.name, None if freeze is None else freeze.tobytes()
        if key not in self._intact:
            self._intact[key] = self.play(self.task("none", key[0]), freeze)
        return self._intact[key]

    def play(self, task: Task, freeze: np.ndarray | None) -> Episodes:
        """All episodes; `freeze`: the step after which weights are constant, of each."""
        played = rollout.evaluate(
            self.network(task),
            task,
            self._found.genome,
            run_seed=self._seed,
            purpose=Purpose.EVALUATION,
            episodes=self._episodes,
            statistics=self._found.statistics(task),
            freeze_after=None if freeze is None else freeze.tolist(),
            keep_rewards=True,
        )
        assert played.rewards is not None
        steps = -(-played.lengths[0] // task.action_repeat)
        rewards = np.zeros((self._episodes, task.decisions))
        rewards[:, : played.rewards.shape[2]] = played.rewards[0]
        return Episodes(rewards, steps, played.returns[0])

    def close(self) -> None:
        """Close the simulators."""
        for task in self._tasks.values():
            task.close()

    def _tell(self, note: str) -> None:
        if note not in self._said:
            self._said.add(note)
            self._note(note)
