"""The trial of a user's rule on small layers: it must run, be elementwise, and return its states.

A rule computes each connection from that connection alone, so that the same function serves a dense matrix, a shared kernel and a
population. The trial therefore computes each connection once more by itself and compares the results.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.rules.declaration import Rule, side

# Individuals, outputs and inputs of the trial: three different sizes, so that no axis can be taken for another.
_TRIED = (2, 3, 5)
_ELEMENTWISE = (
    "write it for one connection, in elementwise operations on its arguments, which are shaped to broadcast "
    "(a tensor of a network's own size, such as a mask, cannot be part of a rule)"
)


def tried(rule: Rule) -> Rule:
    """Try a rule and return it. The values that it computes are not judged.

    Raises:
        InvalidArgument: the function fails, changes an argument in place, returns something other than its change and its states, or
            mixes connections.
    """
    arguments = _arguments(rule)
    together = _attempt(rule, arguments, _TRIED)
    for places in itertools.product(*map(range, _TRIED)):
        alone = _attempt(rule, {name: _at(tensor, places) for name, tensor in arguments.items()}, (1, 1, 1))
        for what, one, all_ in zip(("change", *rule.memory), alone, together, strict=True):
            # Approximately, because some functions of torch round an element according to its position.
            if not torch.allclose(one, _at(all_, places), rtol=1e-4, atol=1e-6, equal_nan=True):
                raise InvalidArgument(
                    f"rule {rule.name!r}: expected the {_called(what)} of a connection to follow from that connection alone, but it "
                    f"changes with the others (a sum, a mean or a sort over neurons or individuals, or random numbers); {_ELEMENTWISE}"
                )
    return rule


def _arguments(rule: Rule) -> dict[str, Tensor]:
    """Arguments by name, in a layer's shapes with a leading population axis; random numbers between 0 and 1."""
    people, outputs, inputs = _TRIED
    shapes = {"pre": (people, 1, inputs), "post": (people, outputs, 1), "connection": _TRIED, "individual": (people, 1, 1)}
    parameters = [f"{name}_{where}" for where in ("pre", "post", "synapse") for name in getattr(rule, where)]
    asked = (*rule.state, *parameters, *rule.memory)
    drawn = torch.Generator(device="cpu").manual_seed(0)
    return {name: torch.rand(shapes[side(name)], generator=drawn, device="cpu") for name in asked}


def _at(tensor: Tensor, places: tuple[int, ...]) -> Tensor:
    """The part of a broadcastable tensor that belongs to one connection; axes are kept."""
    for axis, place in enumerate(places):
        tensor = tensor.narrow(axis, place if tensor.shape[axis] > 1 else 0, 1)
    return tensor


def _attempt(rule: Rule, arguments: Mapping[str, Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    """Call the rule: the change, expanded to the weights' shape, and the new states, expanded to the shapes of the old ones."""
    try:
        with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode do not count their changes
            given = {name: tensor.clone() for name, tensor in arguments.items()}
            before = {name: tensor._version for name, tensor in given.items()}  # counts changes in place
            made: Any = rule.function(**given)
    except Exception as error:
        hint = f"; {_ELEMENTWISE}" if isinstance(error, (RuntimeError, IndexError, ValueError)) else ""
        raise InvalidArgument(
            f"rule {rule.name!r} failed when tried on weights of shape {shape} ({type(error).__name__}: {error}){hint}"
        ) from error
    for name, tensor in given.items():
        if tensor._version != before[name]:
            raise InvalidArgument(
                f"rule {rule.name!r} changes its argument {name!r} in place, and the network goes on with it; "
                f"write `{name} = {name} + ...` instead of `{name} += ...`, `{name}.clamp(...)` instead of `{name}.clamp_(...)`"
            )
    if rule.memory:
        wanted = f"a tuple of the change and the new {', '.join(rule.memory)}"
        if not isinstance(made, tuple) or len(made) != 1 + len(rule.memory):
            got = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
            raise InvalidArgument(f"rule {rule.name!r} keeps states: expected it to return {wanted}, got {got}")
        values = list(made)
    else:
        values = [made]
    shapes = [shape, *(tuple(arguments[name].shape) for name in rule.memory)]
    return [_fitted(rule, *each) for each in zip(("change", *rule.memory), values, shapes, strict=True)]


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
