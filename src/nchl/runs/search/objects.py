"""Networks, tasks, strategies and initial genomes given to a run as Python objects, and their entries in its record.

An object that can be serialised (a graph of built-in rules, a task made by name, a strategy of this package) is recorded completely, and
resume, load and evaluate need only the folder. Any other object is only identified, and must be given again.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from nchl.errors import InvalidArgument, RunError, ShapeError
from nchl.networks.base import PlasticNetwork
from nchl.networks.contract.findings import hold
from nchl.networks.user import own, written
from nchl.networks.user.copies import has_own_code
from nchl.runs.search.own_genome import genome_of
from nchl.runs.settings.config import EvolveConfig
from nchl.runs.settings.options import OBJECT, OWN_GENOME
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.runs.settings.value_checks import refuse_no_seed
from nchl.runs.store.code_copy import Code
from nchl.strategies import STRATEGIES, Strategy
from nchl.strategies.initial import initial_centre
from nchl.tasks import Task, recorded
from nchl.tasks.registry import no_name
from nchl.user_code import using

if TYPE_CHECKING:
    from nchl.runs.store.record import Record


@dataclass(frozen=True)
class Objects:
    """The objects of a run.

    Attributes:
        network: a network of one individual, an `nn.Sequential`, or None.
        written: JSON of a network that can be serialised; it then replaces `network`.
        constants: of the serialised network.
        task: a task that cannot be made again by its name, or None.
        strategy: the search, before its first generation, or None.
        genome: the first centre (nparams,), float64, if it is an array, also of a strategy; or None.
        record: their entry in `config.json`.
        notes: lines for the user.
    """

    network: Any = None
    written: str | None = None
    constants: Mapping[str, np.ndarray] | None = None
    task: Task | None = None
    strategy: Strategy | None = None
    genome: np.ndarray | None = None
    record: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def cannot_travel(self) -> str | None:
        """The kind of object that cannot be sent to worker processes; None if all can."""
        return "network" if self.network is not None else "task" if self.task is not None else None


def separate_objects(task: Any, options: Mapping[str, Any]) -> tuple[str | None, dict[str, Any], Objects]:
    """A task and options with names in place of objects, and the objects.

    Args:
        task: a name, a `Task`, or None.
        options: of `nchl.run`; `network`, `strategy` and `initial_genome` may be objects.

    Raises:
        InvalidArgument: another kind of object, an option that contradicts an object, an initial genome that is not finite, or the seed
            None.
        ShapeError: an initial genome that is not one vector.
    """
    named, network, strategy, kept, genome = dict(options), None, None, None, None
    refuse_no_seed(named)
    if task is not None and not isinstance(task, str):
        if not isinstance(task, Task):
            raise no_name(task)
        said = task.said or {}
        _refuse_conflicts(named, said, "task", "nchl.tasks.make")
        named = {name: value for name, value in {**named, **said}.items() if name != "task"}
        kept, task = (None, said["task"]) if said else (task, task.id)
    start = named.get("initial_genome")
    if isinstance(start, os.PathLike):
        named["initial_genome"] = os.fspath(start)
    elif start is not None and not isinstance(start, str):
        genome, named["initial_genome"] = genome_of(start), OWN_GENOME
    if named.get("network") is not None and not isinstance(named["network"], str):
        network = named["network"]
        named["network"] = own.name_of(network)
        if isinstance(network, PlasticNetwork) and named.get("device") is None:
            named["device"] = str(network.device)
    if named.get("strategy") is not None and not isinstance(named["strategy"], str):
        strategy = named["strategy"]
        if genome is not None:
            raise InvalidArgument(
                "initial_genome: the strategy was given as an object, which has its first centre: give it the array, as centre=ARRAY"
            )
        named |= _settings_of(strategy, named)
        if named["initial_genome"] == OWN_GENOME:
            genome = genome_of(strategy.centre)
    return task, named, Objects(network=network, task=kept, strategy=strategy, genome=genome)


def _refuse_conflicts(options: Mapping[str, Any], settled: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse options that an object has, with another value."""
    twice = [name for name in settled if options.get(name) is not None and options[name] != settled[name]]
    if twice:
        raise InvalidArgument(
            f"{' and '.join(twice)}: the {kind} was given as an object, which has another value; set it in {where}(...), not here"
        )


def _settings_of(strategy: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options whose values are those of a strategy given as an object."""
    if not isinstance(strategy, Strategy):
        got = strategy.__name__ if isinstance(strategy, type) else type(strategy).__name__
        raise InvalidArgument(
            f"strategy: expected a name or a nchl.strategies.base.Strategy, got {got}; for example nchl.strategies.make(...)"
        )
    if strategy.generation:
        raise InvalidArgument(f"strategy: expected one before its first generation, got one after {strategy.generation}; make a new one")
    known = strategy.name in STRATEGIES and type(strategy) is STRATEGIES[strategy.name].load()
    settled: dict[str, Any] = {"strategy": strategy.name if known else f"{OBJECT}{type(strategy).__name__}"}
    if known:
        settled |= {name: value for name, value in strategy.settings.items() if value is not None}
    settled |= {"population": strategy.population, "seed": strategy.seed, "initial_genome": OWN_GENOME}
    for name in INITIAL_GENOMES:
        if np.array_equal(strategy.centre, initial_centre(name, strategy.size, strategy.seed)):
            settled["initial_genome"] = name
    _refuse_conflicts({name: value for name, value in options.items() if name != "strategy"}, settled, "strategy", type(strategy).__name__)
    return settled


def resolve_objects(objects: Objects, config: EvolveConfig, shapes: tuple[tuple[int, ...], int], options: Mapping[str, Any]) -> Objects:
    """The objects with the network as it will be evolved, and their entry for the record.

    Args:
        objects: from `separate_objects`.
        config: of the run.
        shapes: shape of the task's observations, and number of its outputs.
        options: of `from_module`, for an `nn.Sequential`.

    Raises:
        InvalidArgument: the network does not fit or breaks its contract; or worker processes are wanted for objects that cannot be sent.
    """
    record: dict[str, Any] = {}
    if objects.network is not None:
        given = objects.network
        template = given
        if isinstance(given, nn.Sequential):
            template = own.network(given, str(config.network), *shapes, dict(options), {"device": config.device})
        else:
            own.check_template(given, str(config.network), *shapes)
            hold(given)
        about = written.written(template)
        record["network"] = {**_identity(given, template), "written": about}
        if about is not None:
            constants = {name: tensor.detach().cpu().numpy().copy() for name, tensor in template.constants().items()}
            objects = replace(objects, network=None, written=json.dumps(about), constants=constants or None)
    if objects.task is not None:
        record["task"] = {"class": _name(type(objects.task.simulator)), "id": objects.task.id}
    if objects.strategy is not None and str(config.strategy).startswith(OBJECT):
        strategy = objects.strategy
        record["strategy"] = {"class": _name(type(strategy)), "settings": strategy.settings, **_source([type(strategy)])}
    refuse_to_travel(objects, config)
    return replace(objects, record=record or None)


def refuse_to_travel(objects: Objects, config: EvolveConfig) -> None:
    """Refuse worker processes for objects that cannot be sent to them.

    Raises:
        InvalidArgument: names the object and an alternative.
    """
    stays = objects.cannot_travel
    if stays and (config.workers is not None or config.cluster is not None):
        option = f"--workers {config.workers}" if config.workers is not None else f"--cluster {config.cluster}"
        instead = "network='FILE.py:NAME'" if stays == "network" else "nchl.tasks.make(...), or its name"
        raise InvalidArgument(
            f"{option}: this {stays} has code of your own, which cannot be sent to other processes; give {instead}, or leave it out"
        )


def objects_of_record(record: Record, code: Code, given: Objects, folder: Path, call: str) -> Objects:
    """The objects of an existing run, from its record and those that are given again.

    Args:
        record: of the run.
        code: the user's code that it uses.
        given: the objects that are given again.
        folder: of the run, for the messages.
        call: the function that takes them, for example `nchl.resume`.

    Raises:
        RunError: an object is missing, or differs from the run's.
    """
    held = record.objects or {}
    for kind, about in held.items():
        if kind not in ("network", "task", "strategy") or not isinstance(about, dict) or not isinstance(about.get("written"), dict | None):
            raise RunError(f"{folder / 'config.json'}: {kind!r} of the objects is not in the form that nchl writes; the file was altered")
    for kind, wants in (("network", "NET"), ("task", "TASK"), ("strategy", "STRATEGY")):
        about, object_ = held.get(kind), getattr(given, kind)
        if about is None and object_ is not None:
            raise RunError(f"{folder} was not begun with a {kind} as an object: its config.json says all of it; leave {kind} out")
        if about is not None and object_ is None and not about.get("written") and (kind != "strategy" or call == "nchl.resume"):
            taken = "nchl.evaluate" if kind == "task" and call.startswith("nchl.report") else call  # films and reports take no task
            raise RunError(
                f"the {kind} of {folder} is a Python object ({about.get('class')}) that a folder cannot hold; give it again, "
                f"in Python: {taken}({str(folder)!r}, {kind}={wants})"
            )
    about = held.get("network")
    if about is None:
        return given
    notes: list[str] = []
    if given.network is not None:
        notes = _compare(about, given.network, folder, record, code)
    if about.get("written"):
        return replace(given, network=None, written=json.dumps(about["written"]), notes=notes)
    return replace(given, notes=notes)


def _compare(about: Mapping[str, Any], network: Any, folder: Path, record: Record, code: Code) -> list[str]:
    """Refuse a network that is not the run's; a line for the user if its source has changed."""
    template = network
    if isinstance(network, nn.Sequential) and record.task is not None:
        settings, size = record.settings, record.settings.image_size
        task = recorded.from_record(record.task, None if size is None else (size[0], size[1]), _no_simulator, file=folder / "config.json")
        options = from_module_options({**settings.network_settings(), **code.places})
        with using(code.texts):
            template = own.network(network, str(settings.network), task.observation_shape, task.action_size, options, {})
    if not isinstance(template, PlasticNetwork):
        own.name_of(network)
        raise RunError(f"{folder}: expected the run's network, got {type(network).__name__}")
    now = _identity(network, template)
    if now["class"] != about.get("class") or now["layout"] != about.get("layout"):
        raise RunError(
            f"the network given is not the one of {folder}: expected {about.get('class')} of {about.get('nparams')} numbers (layout "
            f"{str(about.get('layout'))[:12]}), got {now['class']} of {now['nparams']} (layout {now['layout'][:12]}); make it as it was"
        )
    own_form = written.written(template)
    if about.get("written") and own_form != about["written"]:
        raise RunError(f"the network given has other settings than the one of {folder}; leave network out: its config.json holds all of it")
    for what in ("rules", "settings"):  # which earlier builds did not record
        if what in about and about[what] != now[what]:
            raise RunError(
                f"the network given is not the one of {folder}: expected the {what} {about[what]}, got {now[what]}; make it as it was"
            )
    before = about.get("files", {}).values()
    changed = [path for path, digest in now["files"].items() if before and digest not in before]
    return [f"{' and '.join(changed)} changed since the run began: the network that was given is used"] if changed else []


def _no_simulator() -> Any:
    raise RunError("a recorded task has no simulator")


def from_module_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `from_module` among a configuration's network settings that were given."""
    given = {name: value for name, value in settings.items() if value is not None and name not in ("network", "evolve_biases", "written")}
    return given | {"biases": "evolve" if settings.get("evolve_biases") else "constant"}


def _identity(network: Any, template: PlasticNetwork) -> dict[str, Any]:
    """The identity of a network: class, genome, rules, settings, and source files of the user's code in it."""
    kinds: list[Any] = [type(network)] if not isinstance(network, PlasticNetwork) or has_own_code(network) else []
    graph = getattr(template, "graph", None)
    rules = [edge.rule for edge in graph.plastic if edge.rule is not None] if graph is not None else []
    kinds += [rule.function for rule in rules]
    layout = {"layout": written.layout_digest(template.layout), "nparams": template.nparams}
    acts = {"rules": [rule.name for rule in rules], "settings": written.settings_of(template)}
    return {"class": _name(type(network)), **layout, **acts, **_source(kinds)}


def _source(kinds: list[Any]) -> dict[str, dict[str, str]]:
    """SHA-256 of the source files, if there are any, of classes and functions from outside this package and torch."""
    files: dict[str, str] = {}
    for kind in kinds:
        if str(getattr(kind, "__module__", "")).partition(".")[0] in ("nchl", "torch"):
            continue
        try:
            path = Path(inspect.getsourcefile(kind) or "")
            files[str(path.resolve())] = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, TypeError):  # of a notebook, for example
            continue
    return {"files": files}


def check_size(strategy: Strategy, nparams: int) -> Strategy:
    """The strategy, if it searches vectors of the genome's length.

    Raises:
        ShapeError: it does not.
    """
    if strategy.size != nparams:
        raise ShapeError(f"strategy: expected one of vectors of {nparams} numbers, the network's genome, got {strategy.size}")
    return strategy


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
