"""Populations of a user's network, which is given as an object or by its place FILE.py:NAME.

An `nn.Sequential` is made plastic by `from_module` with the run's options. A `PlasticNetwork` of one individual is the template of the
population (`populate`) and keeps its own settings. A run calls objects "module:CLASS" or "object:CLASS".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.networks.user.copies import has_own_code
from nchl.seeded import seeded
from nchl.seeds import Purpose, weights_seed

if TYPE_CHECKING:
    from nchl.networks.build import NetworkSpec

OBJECT, MODULE = "object:", "module:"
_WANTED = "expected an nn.Sequential or a nchl.PlasticNetwork (a nchl.PlasticGraph, or a class of your own)"

_TO_SEQUENTIAL = (
    "put its layers into an nn.Sequential, for example nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)); "
    "--evolve-biases puts the biases into the genome; docs/networks.md shows a class of your own"
)


def name_of(network: object) -> str:
    """The name of a network object in a run.

    Raises:
        InvalidArgument: it is no network; the message says what is accepted.
    """
    kind = type(network).__name__
    if isinstance(network, nn.Sequential):
        return MODULE + kind
    if isinstance(network, PlasticNetwork):
        return OBJECT + kind
    if isinstance(network, nn.Module):
        hint = _TO_SEQUENTIAL
    elif callable(network):
        hint = "call it, and give what it returns; or name its place, 'FILE.py:NAME'"
    else:
        hint = "or a name, for example 'nchl'"
    raise InvalidArgument(f"network: {_WANTED}, got {network.__name__ if isinstance(network, type) else kind}; {hint}")


def made(place: str, input_shape: tuple[int, ...], output_size: int, seed: int) -> Any:
    """The network at FILE.py:NAME, or the return value of the function (or class) there for these sizes.

    Raises:
        InvalidArgument: there is no such place, or the function fails.
    """
    from nchl.rules.declaration import load_object

    if place.startswith((OBJECT, MODULE)):
        raise InvalidArgument(
            f"the network {place!r} stands for an object in Python, and there is none here; give it: nchl.run(task, network=NET). "
            "On the command line, name its place: --network FILE.py:NAME"
        )
    found = load_object(place, "a network")
    if isinstance(found, nn.Module):
        return found
    try:
        with seeded(seed):  # random numbers of the function follow from the run's seed
            return found(input_shape, output_size)
    except Exception as error:
        raise InvalidArgument(
            f"{place} failed for observations {input_shape} and {output_size} outputs ({type(error).__name__}: {error})"
        ) from error


def at_place(place: str, input_shape: tuple[int, ...], output_size: int, run_seed: int) -> Any:
    """The object at FILE.py:NAME under a run's seed; None if it fails, which is reported when it is used."""
    try:
        return made(place, input_shape, output_size, weights_seed(run_seed, Purpose.CONSTANTS, 0, 0))
    except InvalidArgument:
        return None


def network(
    given: Any, what: str, input_shape: tuple[int, ...], output_size: int, options: dict[str, Any], common: dict[str, Any]
) -> PlasticNetwork:
    """The population of a user's network.

    Args:
        given: an `nn.Sequential`, or a `PlasticNetwork` of one individual.
        what: its place or name, for the errors.
        input_shape: shape of the task's observations.
        output_size: number of outputs that the task needs.
        options: options of `from_module` that were given to the run.
        common: population, dtype, device, generator and backend.

    Raises:
        InvalidArgument: it is neither, it does not fit the task, or it does not take the options.
    """
    if isinstance(given, nn.Sequential):
        return _of_sequential(given, what, input_shape, output_size, options, common)
    if not isinstance(given, PlasticNetwork):
        got = f"the class {given.__name__} itself" if isinstance(given, type) else type(given).__name__
        hint = f"; {_TO_SEQUENTIAL}" if isinstance(given, nn.Module) else ""
        raise InvalidArgument(f"{what}: {_WANTED}, got {got}{hint}")
    said = [name for name, value in options.items() if not (name == "biases" and value == "constant")]
    if said:
        them = "it" if len(said) == 1 else "them"
        raise InvalidArgument(
            f"{' and '.join(said)}: {what} is a finished network ({type(given).__name__}), whose settings are its own; set {them} where it "
            f"is made, for example nchl.PlasticGraph(..., {said[0]}=...), and leave the option out"
        )
    check_template(given, what, input_shape, output_size)
    return populated(given, **common)


def of_object(given: Any, spec: NetworkSpec, input_shape: tuple[int, ...], output_size: int, common: dict[str, Any]) -> PlasticNetwork:
    """The population of a finished network, from the object or from its JSON record.

    Raises:
        InvalidArgument: there is neither, or it does not fit the task.
    """
    if spec.written is not None:
        from nchl.networks.user.written import read

        template = read(json.loads(spec.written))
        check_template(template, spec.network, input_shape, output_size)
        return populated(template, **common)
    return network(
        made(spec.network, input_shape, output_size, 0) if given is None else given, spec.network, input_shape, output_size, {}, common
    )


def check_template(net: PlasticNetwork, what: str, input_shape: tuple[int, ...], output_size: int) -> None:
    """Refuse a network that cannot be the template of a population for a task.

    Raises:
        InvalidArgument: the message says what does not fit.
    """
    if net.population is not None:
        raise InvalidArgument(
            f"{what}: expected a network of one individual, the template of the population, got population={net.population}; "
            "leave population out where it is made"
        )
    if tuple(net.input_shape) != tuple(input_shape):
        raise InvalidArgument(f"{what}: the task gives observations of shape {input_shape}, the network takes {tuple(net.input_shape)}")
    if net.output_size != output_size:
        raise InvalidArgument(f"{what}: the task wants {output_size} outputs, the network gives {net.output_size}")


def populated(
    template: PlasticNetwork,
    population: int | None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
    backend: str = "auto",
) -> PlasticNetwork:
    """The population of a template, on a device.

    Args:
        template: a network of one individual.
        population: number of individuals, or None.
        dtype: ignored; the template's is kept.
        device: None: the template's.
        generator: of initial weights; None: the template's choice.
        backend: `"auto"`: the template's choice.

    Raises:
        InvalidArgument: `populate` returned something else.
    """
    keywords: dict[str, Any] = {}
    if type(template).__module__.partition(".")[0] == "nchl" and not has_own_code(template):
        keywords = {name: value for name, value in (("device", device), ("generator", generator)) if value is not None}
        if backend != "auto" and hasattr(template, "graph") and hasattr(template, "plasticity"):
            keywords["backend"] = backend
    made: Any = template.populate(population, **keywords)
    if not isinstance(made, PlasticNetwork) or made.population != population or made.nparams != template.nparams:
        raise InvalidArgument(
            f"{type(template).__name__}.populate({population}): expected a network of population {population} and "
            f"{template.nparams} numbers, got {made!r}; nchl.testing.check_network(net) says more"
        )
    if not keywords and device is not None and made.device.type != torch.device(device).type:
        made = made.to(device)
    if not keywords and generator is not None:
        made._generator = generator
    found: PlasticNetwork = made
    return found


def _of_sequential(
    given: nn.Sequential, what: str, input_shape: tuple[int, ...], output_size: int, options: dict[str, Any], common: dict[str, Any]
) -> PlasticNetwork:
    from nchl.networks.conv.from_module import from_module

    net = from_module(given, input_shape, **options, **common)
    shared = [name for name in ("sharing", "termwise") if name in options]  # also their defaults, if they were given
    if shared and not any(edge.geometry for edge in net.graph.plastic):
        raise InvalidArgument(f"{' and '.join(shared)}: {what} has no plastic convolution, whose weights could be shared; leave it out")
    if net.output_size != output_size:
        raise InvalidArgument(f"{what}: the task wants {output_size} outputs, the network gives {net.output_size}")
    return net
