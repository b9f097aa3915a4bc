"""Checks of the arguments that networks take from users: sizes, numbers, observations, rewards, weights, devices."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import torch
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError, UnknownName

if TYPE_CHECKING:
    from nchl.networks.base import PlasticNetwork

Numbers = Tensor | np.ndarray | Sequence[Any]
"""The types that a user may give in place of a tensor."""

RULE_SETTINGS = ("initial_weights", "normalise", "rule", "average", "every", "trace", "modulate", "backend")
"""Settings that networks without plastic weights refuse, see `refuse_settings`."""

SETTINGS = ("population", "dtype", "device", "generator")
"""Settings of every network."""

_P = ParamSpec("_P")


def explained(*keywords: str) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """A decorator of a network's constructor: a call that does not fit its signature is an error that says what to write.

    Args:
        keywords: the names that its `**keywords` takes.
    """

    def decorate(init: Callable[_P, None]) -> Callable[_P, None]:
        signature, kind = inspect.signature(init), init.__qualname__.partition(".")[0]
        own = [each.name for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD and each.name != "self"]
        known = dict.fromkeys((*own, *keywords))

        @functools.wraps(init)
        def checked(*given: _P.args, **named: _P.kwargs) -> None:
            if own[0] == "nodes" and len(given) > 2 and all(isinstance(size, int) for size in given[1:]):
                raise InvalidArgument(f"{kind}: write the sizes as a list: {kind}({list(given[1:])})")
            for name, value in named.items():
                if name == "rule" and name not in known:
                    called = repr(value) if isinstance(value, str) else getattr(value, "__name__", "")
                    raise InvalidArgument(
                        f"{kind} has its own rule; write nchl.PlasticMLP([4, 10, 2], rule={called.replace('<lambda>', '') or 'RULE'})"
                    )
                if name not in known:
                    raise UnknownName(f"option of {kind}", name, known, see=f"help(nchl.{kind})")
            try:
                signature.bind(*given, **named)
            except TypeError as error:
                raise InvalidArgument(f"{kind}: {error}; write options by name, see help(nchl.{kind})") from None
            init(*given, **named)

        return checked

    return decorate


def explained_reset(reset: Callable[_P, None]) -> Callable[_P, None]:
    """A decorator of a network's `reset`: a seed, or another argument that it does not have, is an error that says what to write."""

    @functools.wraps(reset)
    def checked(*given: _P.args, **named: _P.kwargs) -> None:
        seed = named.get("seed", given[1] if len(given) > 1 else named.get("weights"))
        if isinstance(seed, int | float | np.number):
            whole = int(seed) if isinstance(seed, int | np.integer) else "SEED"
            raise InvalidArgument(
                f"reset: expected weights or a generator, got {seed}; a seed is given as "
                f"reset(generator=torch.Generator().manual_seed({whole}))"
            )
        for name in named:
            if name not in ("weights", "generator"):
                raise InvalidArgument(f"reset: expected weights=[...] or generator=torch.Generator(), got {name!r}; leave it out")
        reset(*given, **named)

    return checked


def real_numbers(given: Numbers, what: str) -> Tensor:
    """A tensor of a user's numbers; `what` names the argument in the errors.

    Raises:
        InvalidArgument: they are no array of real numbers.
    """
    if isinstance(given, Tensor):
        tensor = given
    else:
        try:
            array = np.asarray(given)
            # Arrays that torch cannot share memory with: foreign byte order, a negative stride, read-only memory.
            if not array.dtype.isnative or min(array.strides, default=0) < 0 or not array.flags.writeable:
                array = array.astype(array.dtype.newbyteorder("="), order="C")
            tensor = torch.as_tensor(array)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # no array of numbers, or a ragged one
            raise InvalidArgument(f"{what}: expected numbers, got {type(given).__name__} ({str(error)[:200]})") from error
    if tensor.is_complex():
        raise InvalidArgument(f"{what}: expected real numbers, got {tensor.dtype}")
    return tensor


def gives_weights(weights: object) -> bool:
    """True if the first argument of `reset` is not empty; networks that draw no weights pass an empty list."""
    return weights is not None and not (isinstance(weights, Sequence) and len(weights) == 0)


def check_device(device: torch.device | str | None) -> None:
    """Raise an InvalidArgument for a device that is not available."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgument(f"device {str(device)!r} cannot be used here ({reason}); cpu always can") from error


def check_generator(generator: object) -> torch.Generator:
    """The generator itself.

    Raises:
        InvalidArgument: it is no torch.Generator.
    """
    if not isinstance(generator, torch.Generator):
        hint = f"; for a seed, write torch.Generator().manual_seed({generator})" if isinstance(generator, int) else ""
        raise InvalidArgument(f"generator: expected a torch.Generator, got {generator!r}{hint}")
    return generator


def check_active(active: Any, population: int | None) -> Tensor | None:
    """`active` as a bool tensor `(population,)`, or None if it is None.

    Raises:
        ShapeError: another shape, or a single network.
        InvalidArgument: values other than True and False.
    """
    if active is None or (type(active) is Tensor and active.dtype is torch.bool and active.shape == (population,)):
        return active
    try:
        given = torch.as_tensor(active)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidArgument(f"active: expected True or False for each individual, got {type(active).__name__} ({error})") from error
    if given.dtype not in (torch.bool, torch.uint8):
        number = given.item() if given.numel() == 1 else "..."
        raise InvalidArgument(
            f"active: expected True or False for each individual, got numbers of type {given.dtype}; the reward of the last action is "
            f"given by name: step(x, reward={number})"
        )
    if population is None or tuple(given.shape) != (population,):
        expected = "a population (this is a single network: leave it out)" if population is None else f"shape {(population,)}"
        raise ShapeError(f"active: expected {expected}, got shape {tuple(given.shape)}")
    return given.bool()


def check_constants(named: Mapping[str, Numbers], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The argument of `load_constants`, as tensors.

    Args:
        named: constants by name.
        own: those of the network.

    Raises:
        InvalidArgument: a constant is missing, or a name is unknown.
        ShapeError: a constant has another shape.
    """
    if set(named) != set(own):
        raise InvalidArgument(
            f"load_constants: this network's constants are {', '.join(sorted(own)) or 'none'}, "
            f"got {', '.join(sorted(named)) or 'none'}; they are those of another network"
        )
    new = {name: real_numbers(value, f"constant {name}") for name, value in named.items()}
    for name, value in new.items():
        if value.shape != own[name].shape:
            raise ShapeError(f"load_constants: expected {name} of shape {tuple(own[name].shape)}, got {tuple(value.shape)}")
    return new


def check_reward(reward: Any, lead: tuple[int, ...], like: Tensor) -> Tensor:
    """A reward as one number per individual (one for a single network), with the type and device of `like`.

    Raises:
        ShapeError: neither one number nor one per individual.
        InvalidArgument: no number.
    """
    given = real_numbers(reward, "reward").to(dtype=like.dtype, device=like.device)
    if tuple(given.shape) not in {(), (1,), lead}:
        raise ShapeError(f"reward: expected a number{f' or shape {lead}' if lead else ''}, got shape {tuple(given.shape)}")
    return given.expand(lead or (1,)).contiguous()


def check_nodes(nodes: Sequence[int]) -> tuple[int, ...]:
    """The layer sizes as a tuple.

    Raises:
        InvalidArgument: fewer than two, or one that is not a positive integer.
    """
    expected = "nodes: expected at least two positive layer sizes (inputs first, outputs last), got"
    try:
        given = list(nodes)
        sizes = tuple(int(n) for n in given)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{expected} {nodes!r}") from None
    if len(sizes) < 2 or any(n != number or n < 1 for n, number in zip(sizes, given, strict=True)):
        raise InvalidArgument(f"{expected} {given}")
    return sizes


def check_weights(weights: Sequence[Numbers], layers: Sequence[tuple[str, tuple[int, ...]]], lead: tuple[int, ...]) -> list[Tensor]:
    """The weights given to `reset`, as tensors.

    Args:
        weights: for each layer `shape`, or `(*lead, *shape)`.
        layers: name and shape of each.
        lead: the axes of the population.

    Raises:
        ShapeError: another number of tensors, or another shape.
        InvalidArgument: no numbers.
    """
    if len(weights) != len(layers):
        raise ShapeError(f"reset: expected {len(layers)} weight tensors, one per layer, got {len(weights)}")
    tensors = [real_numbers(weight, "reset") for weight in weights]
    for (name, shape), tensor in zip(layers, tensors, strict=True):
        if tuple(tensor.shape) not in {shape, (*lead, *shape)}:
            also = f" or {(*lead, *shape)}" if lead else ""
            raise ShapeError(f"reset: layer {name} expects weights of shape {shape}{also}, got {tuple(tensor.shape)}")
    return tensors


def observe(net: PlasticNetwork, x: Numbers) -> tuple[Tensor, bool]:
    """A copy of `x` as `(*lead, *input_shape)` or, with a batch, `(*lead, batch, *input_shape)`; and whether there is a batch.

    A copy, because simulators write the next observation into the same memory before the update has used this one.

    Args:
        net: the network, with population, input shape, dtype and device.
        x: an observation; without the population axis, all individuals get the same.

    Raises:
        ShapeError: another shape; names both.
        InvalidArgument: no numbers.
    """
    observation = real_numbers(x, "an observation")
    extra = observation.ndim - len(net.input_shape)
    if extra < 0 or tuple(observation.shape[extra:]) != net.input_shape or extra > len(net.lead) + 1:
        _refuse(net, observation)
    if extra == 0:
        observation = observation.expand(*net.lead, *net.input_shape)
    elif net.lead and observation.shape[0] != net.population:
        _refuse(net, observation)
    batched = extra == len(net.lead) + 1
    if batched and observation.shape[extra - 1] == 0:
        _refuse(net, observation)
    if net.differentiable:
        return observation.to(dtype=net.dtype, device=net.device, copy=True), batched
    copied = torch.empty(observation.shape, dtype=net.dtype, device=net.device)
    copied.copy_(observation.detach())
    return copied, batched


def _refuse(net: PlasticNetwork, x: Tensor) -> None:
    single = (*net.lead, *net.input_shape)
    batched = (*map(str, net.lead), "batch", *map(str, net.input_shape))
    raise ShapeError(f"expected an observation of shape {single}, or ({', '.join(batched)}), got {tuple(x.shape)}")


def refuse_settings(kind: str, keywords: dict[str, Any], names: Collection[str] = RULE_SETTINGS) -> dict[str, Any]:
    """The keywords without settings that only networks with stored, plastic weights have.

    Args:
        kind: a description of the network that says why.
        keywords: of its constructor.
        names: the settings to refuse, unless they are None, False or `every=1`.

    Raises:
        InvalidArgument: a setting with another value.
    """
    for name in names:
        value = keywords.get(name)
        if value is not None and value is not False and not (name == "every" and value == 1):
            raise InvalidArgument(f"{name} does not apply to {kind}, got {value!r}; leave it out")
    return {name: value for name, value in keywords.items() if name not in names}
