"""Episodes of an evaluation one at a time, with pictures: those that `nchl evaluate` plays.

with open_run("runs/first", seed=10000) as scene:
    for moment in scene.watch():
        print(moment.step, moment.total, moment.frame.shape)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.perturbations.draws import decision_of
from nchl.perturbations.language import together
from nchl.rollout import ObservationStatistics
from nchl.rollout.episode import Moment, always, watch
from nchl.rollout.scores import begin
from nchl.runs.results.result import read_result
from nchl.runs.search.objects import Objects
from nchl.runs.settings.config import EvolveConfig
from nchl.seeds import Purpose, environment_seed, weights_seed
from nchl.tasks.stages.open import open_stage
from nchl.tasks.stages.stage import Stage


@dataclass
class Scene:
    """A run's result in one episode of an evaluation.

    Attributes:
        config: of the run.
        which: "best" or "centre".
        seed: of the evaluation.
        episode: its number in the evaluation.
        network: the individual, population 1, with its rules set and its weights drawn.
        stage: its task, with a renderer.
        statistics: the normalisation of its observations, or None.
    """

    config: EvolveConfig
    which: str
    seed: int
    episode: int
    network: PlasticNetwork
    stage: Stage
    statistics: ObservationStatistics | None

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def watch(self, *, draw: Callable[[int], bool] = always, freeze_after: int | None = None) -> Iterator[Moment]:
        """The steps of the episode from its beginning, with its initial weights; see `rollout.watch.watch`."""
        self.draw_weights()
        yield from watch(self.network, self.stage, statistics=self.statistics, draw=draw, freeze_after=freeze_after)

    def draw_weights(self) -> None:
        """Set the initial weights of this episode."""
        begin(self.network, [weights_seed(self.seed, Purpose.EVALUATION, 0, self.episode)])

    @property
    def moment(self) -> int | None:
        """The network's step at which the first thing goes wrong in the present episode, from 0; None where nothing does."""
        task, seed = self.stage.task, self.stage.seed
        return min((decision_of(each, seed, task.action_repeat) for each in task.plan.of(seed)), default=None)

    @property
    def perturbed(self) -> str:
        """What goes wrong in the present episode, as a text; "none" where nothing does."""
        return together(self.stage.task.plan.of(self.stage.seed))

    def to_episode(self, episode: int) -> None:
        """Go to another episode of the same evaluation."""
        self.episode = episode
        self.stage.seed = environment_seed(self.seed, Purpose.EVALUATION, 0, episode)

    def close(self) -> None:
        """Close simulator and renderer."""
        self.stage.close()


def open_run(
    run: os.PathLike[str] | str,
    seed: int = 10000,
    which: str = "best",
    *,
    episode: int = 0,
    simulator: str | None = None,
    size: Sequence[int] | None = None,
    backend: str | None = None,
    draw: bool = True,
    rule: str | None = None,
    perturb: Sequence[str] | str | None = None,
    network: Any = None,
) -> Scene:
    """A run's result in one episode of an evaluation.

    On the run's own simulator it is episode `episode` of `nchl evaluate RUN --seed SEED`: the same start, initial weights and return.

    Args:
        run: the run folder.
        seed: of the evaluation.
        which: "best" or "centre".
        episode: its number in the evaluation, from 0.
        simulator: None: the run's own.
        size: (width, height) of a picture in pixels; None: the task's own.
        backend: implementation of the network's step; None: as in the run.
        draw: False: no pictures, for any task; `watch` then needs `draw=never`.
        rule: in place of the run's own: "FILE.py:NAME".
        perturb: in place of the perturbations of training; None: as in training.
        network: the run's, if it was begun with an object that its folder cannot hold.

    Raises:
        DrawingError: the task cannot be drawn here.
        NchlError: no such run or result.
    """
    for name, value in (("seed", seed), ("episode", episode)):
        if value < 0:
            raise InvalidArgument(f"{name} must be at least 0, got {value}")
    found = read_result(run, which, rule=rule, given=Objects(network=network))
    about = found.recipe(perturb)
    stage = open_stage(
        about.task,
        about.simulator if simulator is None else simulator,
        environment_seed(seed, Purpose.EVALUATION, 0, episode),
        size,
        about.image_size,
        about.max_episode_steps,
        draw=draw,
        **about.task_words,
    )
    try:
        task = stage.task
        if backend is not None and about.network.kind in ("nchl", "hl"):
            about = replace(about, backend=backend)
        network = found.network(about, task, 1)
        stage.notes += found.notes_on(network, perturb)
        network.set_hrules(np.asarray(found.genome))
        scene = Scene(found.record.settings, which, seed, episode, network, stage, found.statistics(task))
        scene.draw_weights()
    except BaseException:
        stage.close()
        raise
    return scene
