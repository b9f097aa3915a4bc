"""`net, task = nchl.load(RUN)`: what a run has found, ready for anyone's own loop or robot.

net, task = nchl.load("runs/first")
net.reset()                         # before each episode
action = net.act(observation)       # the network also rewires itself here
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nchl.errors import InvalidArgument, NchlError, RunError, UnknownName
from nchl.networks.base import PlasticNetwork
from nchl.networks.build import build
from nchl.rollout import ObservationStatistics
from nchl.runs.search.evolution import recipe
from nchl.runs.search.objects import Objects, of_record
from nchl.runs.session.recorder import recorded_constants, statistics_from, unrecorded
from nchl.runs.settings.perturbation_options import always
from nchl.runs.store import trust
from nchl.runs.store.code_copy import Code, collect_places
from nchl.runs.store.files import read_tensors
from nchl.runs.store.folder import Record, RunFolder
from nchl.simulators.host import tensor_of, type_of_actions
from nchl.tasks import Task, recorded
from nchl.user_code import is_place, using
from nchl.workers.base import Recipe
from nchl.workers.build import task_of

WHICH = ("best", "centre")


class Agent:
    """A network together with what stands between it and its task. All else that it is asked for, the network answers.

    Attributes:
        network: the plastic network of one individual, with its rules set.
        statistics: the normalisation of its observations, or None.
    """

    def __init__(self, network: PlasticNetwork, task: Task, statistics: ObservationStatistics | None) -> None:
        self.network = network
        self.statistics = statistics
        self._task = task
        self.reset()

    def __getattr__(self, name: str) -> Any:
        if name == "network":  # not there yet: while it is being copied
            raise AttributeError(name)
        return getattr(self.network, name)

    def reset(self, seed: int | None = None) -> None:
        """Begin a new life: initial weights, as each episode of the evolution began.

        Args:
            seed: of the initial weights; None: those that come next from the network's generator.
        """
        self.network.reset(generator=None if seed is None else torch.Generator().manual_seed(seed))

    def act(self, observation: Any, reward: float | None = None) -> Any:
        """The action for one observation, and one step of rewiring.

        Args:
            observation: as the Gymnasium environment gives it, without any leading axis; a dict or tuple where it has parts. Where the
                task repeats actions (`task.action_repeat`), the one after the last repetition.
            reward: what the last action earned; only a network that learns from rewards looks at it. None on an episode's first step,
                where such a network refuses any other.

        Returns:
            An action for `env.step`: an integer for Discrete, an array within the bounds for Box.

        Raises:
            ShapeError: an observation of another shape than the task's.
            InvalidArgument: what holds no numbers, or numbers that are not finite; the network is as before.
            OrderError: a reward on the first step; the network was not stepped.
            NchlError: the network's outputs are no longer finite.
        """
        raw = self._task.simulator.packing.of_one(observation)
        _refuse_not_finite(raw, "finite")
        seen = self._task.map_observations(tensor_of(raw))
        if self.statistics is not None:
            seen = self.statistics.normalise(seen)
        inputs = seen[0].to(self.network.device, self.network.dtype)
        if not torch.isfinite(inputs).all():  # 1e300 is finite, until it is given to a network of single precision
            _refuse_not_finite(inputs.cpu().numpy(), "within what the network's precision holds")
        if reward is not None and not np.isfinite(reward):
            raise InvalidArgument(f"reward: expected a finite number, got {reward}; the network was not stepped")
        outputs = self.network.step(inputs, reward=reward).detach().cpu()[None]
        if not torch.isfinite(outputs).all():
            raise NchlError("the network's outputs are not finite: its weights have grown beyond all bounds; reset() begins a new life")
        action = self._task.map_actions(outputs, self.network.output_bounded).numpy()[0]
        dtype = type_of_actions(self._task.simulator.action_space)
        # EnvPool's spaces are of double precision where Gymnasium's, which an own loop uses, are of single.
        return action.astype(np.float32 if dtype == np.float64 else dtype or action.dtype, copy=False)


def _refuse_not_finite(numbers: np.ndarray, wanted: str) -> None:
    """One step with a number that is not finite would spoil the weights for the rest of the life."""
    bad = numbers.size - int(np.count_nonzero(np.isfinite(numbers)))
    if bad:
        raise InvalidArgument(
            f"{bad} of the {numbers.size} numbers of the observation are not {wanted}; the network was not stepped: "
            "look at the sensor, or act on the last good observation again"
        )


@dataclass(frozen=True)
class Result:
    """An individual that a run has found, as it lies in the run's folder.

    Attributes:
        folder: of the run.
        record: its `config.json`.
        code: the user's code that it uses.
        genome: `(nparams,)`.
        tensors: all arrays beside it.
        notes: lines that a user should see.
        objects: that take the place of names.
    """

    folder: RunFolder
    record: Record
    code: Code
    genome: np.ndarray
    tensors: dict[str, np.ndarray]
    notes: list[str]
    objects: Objects = field(default_factory=Objects)

    def recipe(self, perturb: Sequence[str] | str | None = None) -> Recipe:
        """What builds its network and task; in this process, whatever played the run.

        Args:
            perturb: what goes wrong in each episode, in place of what went wrong in training; None: as in training.

        Raises:
            InvalidArgument: no perturbations, or those of a task that was given as an object.
        """
        settings = self.record.settings.replace(workers=None, cluster=None) if self.objects.cannot_travel else self.record.settings
        about = recipe(settings, recorded_constants(self.tensors), self.code, self.objects)
        if perturb is None:
            return about
        if about.played is not None:
            raise InvalidArgument("perturb: this run's task was given as an object; perturb that: nchl.tasks.make(..., perturb=[...])")
        return replace(about, perturb=always(perturb) or (), perturb_training=())

    def notes_on_training(self, perturb: Sequence[str] | str | None) -> list[str]:
        """A line where an episode has the perturbations of training because no others were named."""
        told = [*(self.record.settings.perturb or ()), *(self.record.settings.perturb_training or ())]
        if perturb is not None or not told:
            return []
        return [f"perturbed as in training ({', '.join(told)}); --perturb none plays intact episodes"]


def load(
    run: Path | str,
    which: str = "best",
    *,
    simulator: str | None = None,
    rule: str | None = None,
    network: Any = None,
    generator: torch.Generator | None = None,
) -> tuple[Agent, Task]:
    """The individual that a run has found, and its task.

    Neither the simulator nor the environment's package is needed: spaces and maps are in the run's record. `task` makes its
    simulator when it is first asked to play.

    Args:
        run: the run folder, or "zoo:NAME".
        which: "best" (the best individual) or "centre" (where the search is).
        simulator: for `task`, which is then made at once; None: the run's own.
        rule: another rule than the run's own, on purpose: "FILE.py:NAME".
        network: the run's, where it was begun with an object that its folder cannot hold.
        generator: of the initial weights; None: a new one, always the same.

    Raises:
        RunError: no run folder, an altered one, or nothing found yet.
    """
    found = read_result(run, which, plays=simulator is not None, rule=rule, given=Objects(network=network), call="nchl.load")
    folder, record, tensors, about = found.folder, found.record, found.tensors, found.recipe()

    def make(with_simulator: str) -> Task:
        trust.check(folder.path, (about.task, *about.wrap))
        return task_of(about, with_simulator)

    if simulator is not None or record.task is None:
        task = make(about.simulator if simulator is None else simulator)
    else:
        name = str(record.task.get("simulator"))  # what `auto` stood for
        task = recorded.from_record(record.task, about.image_size, lambda: make(name).simulator, file=folder.config)
    with using(about.code):
        acting = build(
            about.network,
            task.observation_shape,
            task.action_size,
            device=about.device,
            generator=generator,
            backend="eager",
            seed=about.seed,
            constants=about.constants,
            template=about.template,
        )
    check_length(found.genome, acting, folder)
    acting.notes += [*unrecorded(acting, tensors), *found.notes]
    acting.set_hrules(found.genome)
    return Agent(acting, task, statistics_from(tensors, task.observation_shape)), task


def read_result(
    run: Path | str,
    which: str,
    *,
    plays: bool = True,
    rule: str | None = None,
    given: Objects | None = None,
    call: str = "nchl.evaluate",
) -> Result:
    """What a run has found, with all that is needed to build it again.

    Args:
        run: the run folder.
        which: "best" or "centre".
        plays: whether the task is made as well, see `RunFolder.read_record_to_run`.
        rule: to play with, in place of the run's own.
        given: objects that the folder cannot hold, given again.
        call: how they would be given, for the errors.

    Raises:
        UnknownName: `which` is neither best nor centre.
        RunError: no run folder, an altered one, or nothing found yet.
        InvalidArgument: a rule for a network that takes none.
    """
    if which not in WHICH:
        raise UnknownName("result of a run", which, WHICH)
    folder = RunFolder.open(run)
    record, code = folder.read_record_to_run(plays=plays)
    path = folder.best if which == "best" else folder.centre
    if which == "centre" and folder.individual is not None:
        raise RunError(f"{run} is one individual, without the centre of its search; leave out --which centre")
    if not path.exists():
        raise RunError(
            f"{folder.path} has no {path.name} yet: no generation was finished and saved; continue it with: nchl resume {folder.path}"
        )
    tensors, _ = read_tensors(path)
    if "genome" not in tensors:
        raise RunError(f"{path} holds no genome, only {sorted(tensors)}; it was not written by a run")
    objects = of_record(record, code, Objects() if given is None else given, folder.path, call)
    notes = [*folder.notes_on_code(record, code), *objects.notes]
    if rule is not None:
        record = replace(record, settings=record.settings.replace(rule=rule))
        other = collect_places({"rule": rule} if is_place(rule) else {})
        trust.remember((), other.texts)  # naming it here is choosing it
        code = code.without("rule").over(other)
        notes = [f"played with the rule {rule}, which is not the one that the run was evolved with"]
    return Result(folder, record, code, tensors["genome"], tensors, notes, objects)


def check_length(genome: np.ndarray, network: PlasticNetwork, folder: RunFolder) -> None:
    """Refuse a genome that is not one of this network.

    Raises:
        InvalidArgument: another length; names both.
    """
    if genome.shape != (network.nparams,):
        raise InvalidArgument(
            f"{folder.path} holds a genome of shape {genome.shape}, but the network in its config.json needs ({network.nparams},); "
            "one of the two files was replaced"
        )
