"""A rule is tried when it is taken: small layers show that it runs, that it is elementwise, and that it returns its states.

A rule sees one connection at a time, whatever the shape of the layer: that is what lets the same function run on a dense matrix, on a
shared kernel and inside a population. So each connection of the trial is computed once more by itself, and must come out alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.rules.declaration import side

if TYPE_CHECKING:
    from nchl.rules.declaration import Rule

# Individuals, outputs and inputs on which a rule is tried: no two alike, so that no axis can stand for another one.
_TRIED = (2, 3, 5)
_ELEMENTWISE = (
    "write it for one connection, in elementwise operations on its arguments, which are shaped to broadcast "
    "(a tensor of a network's own size, such as a mask, cannot be part of a rule)"
)


def check_rule(rule: Rule) -> None:
    """Try a rule; what numbers it makes is its own affair.

    Raises:
        InvalidArgument: the function fails, returns something other than its change and its states, or mixes connections.
    """
    arguments = _arguments(rule)
    together = _attempt(rule, arguments, _TRIED)
    for places in itertools.product(*map(range, _TRIED)):
        alone = _attempt(rule, {name: _at(tensor, places) for name, tensor in arguments.items()}, (1, 1, 1))
        for what, one, all_ in zip(("change", *rule.memory), alone, together, strict=True):
            # Nearly: some functions of torch round an element by where it stands.
            if not torch.allclose(one, _at(all_, places), rtol=1e-4, atol=1e-6, equal_nan=True):
                raise InvalidArgument(
                    f"rule {rule.name!r}: expected the {_called(what)} of a connection to follow from that connection alone, but it "
                    f"changes with the others (a sum, a mean or a sort over neurons or individuals, or random numbers); {_ELEMENTWISE}"
                )


def _arguments(rule: Rule) -> dict[str, Tensor]:
    """Arguments by name, shaped as a layer's with a population in front; numbers between 0 and 1, no two of them alike."""
    people, outputs, inputs = _TRIED
    shapes = {"pre": (people, 1, inputs), "post": (people, outputs, 1), "connection": _TRIED, "individual": (people, 1, 1)}
    asked = (
        *rule.state,
        *(f"{n}_pre" for n in rule.pre),
        *(f"{n}_post" for n in rule.post),
        *(f"{n}_synapse" for n in rule.synapse),
        *rule.memory,
    )
    drawn = torch.Generator(device="cpu").manual_seed(0)
    return {name: torch.rand(shapes[side(name)], generator=drawn, device="cpu") for name in asked}


def _at(tensor: Tensor, places: tuple[int, ...]) -> Tensor:
    """The part of a broadcastable tensor that belongs to one connection, with its axes."""
    for axis, place in enumerate(places):
        tensor = tensor.narrow(axis, place if tensor.shape[axis] > 1 else 0, 1)
    return tensor


def _attempt(rule: Rule, arguments: Mapping[str, Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    """The change, with all axes of the weights, and the new states, with those of their side."""
    try:
        with torch.no_grad():
            made: Any = rule.function(**{name: tensor.clone() for name, tensor in arguments.items()})
    except Exception as error:
        hint = f"; {_ELEMENTWISE}" if isinstance(error, (RuntimeError, IndexError, ValueError)) else ""
        raise InvalidArgument(
            f"rule {rule.name!r} failed when tried on weights of shape {shape} ({type(error).__name__}: {error}){hint}"
        ) from error
    if rule.memory:
        wanted = f"a tuple of the change and the new {', '.join(rule.memory)}"
        if not isinstance(made, tuple) or len(made) != 1 + len(rule.memory):
            got = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
            raise InvalidArgument(f"rule {rule.name!r} keeps states: expected it to return {wanted}, got {got}")
        values = list(made)
    else:
        values = [made]
    return [
        _fitted(rule, what, value, _shape_of(what, arguments, shape)) for what, value in zip(("change", *rule.memory), values, strict=True)
    ]


def _shape_of(what: str, arguments: Mapping[str, Tensor], shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if what == "change" else tuple(arguments[what].shape)


def _fitted(rule: Rule, what: str, value: object, shape: tuple[int, ...]) -> Tensor:
    called = _called(what)
    if not isinstance(value, Tensor):
        raise InvalidArgument(
            f"rule {rule.name!r}: expected the {called} to be a tensor, got {type(value).__name__}"
            + ("; a return is missing" if value is None else "")
        )
    if not value.is_floating_point():  # over a batch, changes and states are averaged
        raise InvalidArgument(
            f"rule {rule.name!r}: expected the {called} as floating-point numbers, got {value.dtype}"
            + ("" if value.is_complex() else "; convert it, as in `.to(pre.dtype)`")
        )
    try:
        fits = value.ndim >= 2 and torch.broadcast_shapes(value.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        of = {"pre": "a presynaptic neuron", "post": "a postsynaptic neuron"}.get(side(what), "a connection")
        raise InvalidArgument(
            f"rule {rule.name!r}: expected the {called}, a number of {of}, to broadcast to shape {shape}, got shape {tuple(value.shape)}; "
            + (_ELEMENTWISE if what == "change" else "a neuron's state may depend on that neuron alone")
        )
    return value.broadcast_to(shape)


def _called(what: str) -> str:
    return "change" if what == "change" else f"new {what}"
