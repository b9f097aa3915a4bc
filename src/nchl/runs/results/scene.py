"""A run's result on a stage: the very lives that `nchl evaluate` plays, one at a time and to be looked at.

with open_run("runs/first", seed=10000) as scene:
    for moment in scene.watch():
        print(moment.step, moment.total, moment.frame.shape)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.rollout import ObservationStatistics
from nchl.rollout.scores import begin
from nchl.rollout.watch import Moment, always, watch
from nchl.runs.results.load import check_length, read_result
from nchl.runs.session.recorder import statistics_from, unrecorded
from nchl.runs.settings.config import EvolveConfig
from nchl.seeds import Purpose, environment_seed, weights_seed
from nchl.tasks.render import Stage, open_stage
from nchl.workers.build import network_of


@dataclass
class Scene:
    """An individual that a run has found, on the stage where it can be watched.

    Attributes:
        config: of the run.
        which: "best" or "centre".
        seed: of the evaluation.
        episode: which of its episodes.
        network: the individual, population 1, with its rules set and its weights drawn.
        stage: its task, which can draw itself.
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
        """The life from its beginning, with the initial weights of this episode; see `rollout.watch.watch`."""
        self.draw_weights()
        yield from watch(self.network, self.stage, statistics=self.statistics, draw=draw, freeze_after=freeze_after)

    def draw_weights(self) -> None:
        """Give the network the initial weights of this episode."""
        begin(self.network, [weights_seed(self.seed, Purpose.EVALUATION, 0, self.episode)])

    def to_episode(self, episode: int) -> None:
        """Go to another episode of the same evaluation."""
        self.episode = episode
        self.stage.seed = environment_seed(self.seed, Purpose.EVALUATION, 0, episode)

    def close(self) -> None:
        """Give back what simulator and renderer hold."""
        self.stage.close()


def open_run(
    run: Path | str,
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
) -> Scene:
    """Put what a run has found on a stage.

    On the run's own simulator the life is episode `episode` of `nchl evaluate RUN --seed SEED`: the same start, the same initial
    weights, the same return.

    Args:
        run: the run folder.
        seed: of the evaluation.
        which: "best" or "centre".
        episode: which episode of the evaluation, from 0.
        simulator: None: the run's own.
        size: (width, height) of a picture; None: what suits the task.
        backend: how the network's step is computed; None: as in the run.
        rule: another rule than the run's own, on purpose: "FILE.py:NAME".
        perturb: what goes wrong, in place of what went wrong in training; None: as in training.
        draw: False: a stage without pictures, which every task has; `watch` then needs `draw=never`.

    Raises:
        DrawingError: the task cannot be drawn here.
        NchlError: no such run or result.
    """
    for name, value in (("seed", seed), ("episode", episode)):
        if value < 0:
            raise InvalidArgument(f"{name} must be at least 0, got {value}")
    found = read_result(run, which, rule=rule)
    config, genome, tensors, about = found.record.settings, found.genome, found.tensors, found.recipe(perturb)
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
        network = network_of(about, task, 1)
        check_length(genome, network, found.folder)
        stage.notes += [*found.notes, *found.notes_on_training(perturb), *unrecorded(network, tensors)]
        network.set_hrules(np.asarray(genome))
        scene = Scene(config, which, seed, episode, network, stage, statistics_from(tensors, task.observation_shape))
        scene.draw_weights()
    except BaseException:
        stage.close()
        raise
    return scene
