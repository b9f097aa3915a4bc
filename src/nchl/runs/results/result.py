"""An individual that a run has found, read from its folder, with everything that builds its network and task again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nchl.errors import InvalidArgument, RunError, UnknownName
from nchl.networks.base import PlasticNetwork
from nchl.rollout import ObservationStatistics
from nchl.runs.files.tensors import read_tensors
from nchl.runs.search.objects import Objects, objects_of_record
from nchl.runs.search.recipe import recipe
from nchl.runs.settings.perturbation_options import always
from nchl.runs.store import trust
from nchl.runs.store.code_copy import Code, collect_places
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.record import Record
from nchl.runs.store.results import recorded_constants, statistics_from, unrecorded
from nchl.tasks import Task
from nchl.user_code import is_place
from nchl.workers.base import Recipe
from nchl.workers.build import network_of

WHICH = ("best", "centre")


@dataclass(frozen=True)
class Result:
    """An individual that a run has found.

    Attributes:
        folder: of the run.
        record: its `config.json`.
        code: the user's code that it uses.
        genome: `(nparams,)`.
        tensors: all arrays beside it.
        notes: lines for the user.
        objects: that replace names.
    """

    folder: RunFolder
    record: Record
    code: Code
    genome: np.ndarray
    tensors: dict[str, np.ndarray]
    notes: list[str]
    objects: Objects = field(default_factory=Objects)

    def recipe(self, perturb: Sequence[str] | str | None = None) -> Recipe:
        """The recipe of its network and task, in this process, whatever the run's workers were.

        Args:
            perturb: perturbations of each episode, in place of those of training; None: as in training.

        Raises:
            InvalidArgument: not perturbations, or those of a task that was given as an object.
        """
        settings = self.record.settings.replace(workers=None, cluster=None) if self.objects.cannot_travel else self.record.settings
        about = recipe(settings, recorded_constants(self.tensors), self.code, self.objects)
        if perturb is None:
            return about
        if about.played is not None:
            raise InvalidArgument("perturb: this run's task was given as an object; perturb that: nchl.tasks.make(..., perturb=[...])")
        return replace(about, perturb=always(perturb) or (), perturb_training=())

    def network(self, about: Recipe, task: Task, rows: int) -> PlasticNetwork:
        """A network of `rows` individuals for its genome, which is not set yet.

        Raises:
            InvalidArgument: the genome is of another length.
        """
        network = network_of(about, task, rows)
        self.check_length(network)
        return network

    def check_length(self, network: PlasticNetwork) -> None:
        """Refuse a network with a genome of another length.

        Raises:
            InvalidArgument: names both lengths.
        """
        if self.genome.shape != (network.nparams,):
            raise InvalidArgument(
                f"{self.folder.path} holds a genome of shape {self.genome.shape}, but the network in its config.json needs "
                f"({network.nparams},); one of the two files was replaced"
            )

    def statistics(self, task: Task) -> ObservationStatistics | None:
        """Its observation statistics; None if observations are not normalised."""
        return statistics_from(self.tensors, task.observation_shape)

    def notes_on(self, network: PlasticNetwork, perturb: Sequence[str] | str | None) -> list[str]:
        """Lines for the user about an evaluation with this network: changed code, perturbations as in training, missing constants."""
        settings = self.record.settings
        told = () if perturb is not None else (*(settings.perturb or ()), *(settings.perturb_training or ()))
        perturbed = [f"perturbed as in training ({', '.join(told)}); --perturb none plays intact episodes"] if told else []
        return [*self.notes, *perturbed, *unrecorded(network, self.tensors)]


def read_result(
    run: os.PathLike[str] | str,
    which: str,
    *,
    with_task: bool = True,
    rule: str | None = None,
    given: Objects | None = None,
    call: str = "nchl.evaluate",
) -> Result:
    """A run's result.

    Args:
        run: the run folder.
        which: "best" or "centre".
        with_task: whether the task is made as well, see `RunFolder.read_trusted`.
        rule: in place of the run's own.
        given: objects that the folder cannot hold, given again.
        call: the function that takes them, for the errors.

    Raises:
        UnknownName: `which` is neither best nor centre.
        RunError: no run folder, an altered one, or no result yet.
        InvalidArgument: a rule for a network without rules.
    """
    if which not in WHICH:
        raise UnknownName("result of a run", which, WHICH)
    folder = RunFolder.open(run)
    record, code = folder.read_trusted(with_task=with_task)
    path = folder.result(which)
    if which == "centre" and folder.individual is not None:
        raise RunError(f"{os.fspath(run)} is one individual, without the centre of its search; leave out --which centre")
    if not path.exists():
        raise RunError(
            f"{folder.path} has no {path.name} yet: no generation was finished and saved; continue it with: nchl resume {folder.path}"
        )
    tensors, _ = read_tensors(path)
    if "genome" not in tensors:
        raise RunError(f"{path} holds no genome, only {sorted(tensors)}; it was not written by a run")
    objects = objects_of_record(record, code, Objects() if given is None else given, folder.path, call)
    notes = [*folder.notes_on_code(record, code), *objects.notes]
    if rule is not None:
        record = replace(record, settings=record.settings.replace(rule=rule))
        other = collect_places({"rule": rule} if is_place(rule) else {})
        trust.remember((), other.texts)  # naming it here approves it
        code = code.without("rule").over(other)
        notes = [f"played with the rule {rule}, which is not the one that the run was evolved with"]
    return Result(folder, record, code, tensors["genome"], tensors, notes, objects)
