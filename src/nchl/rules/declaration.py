"""A local rule is one elementwise torch function, and its signature is its declaration.

    def oja(pre, post, weight, eta_post):
        return eta_post * post * (pre - post * weight)

`pre`, `post` and `weight` are the connection's two activations and its weight, `reward` is the individual's at this step. Every
other argument is a parameter: `NAME_pre` belongs to the presynaptic neuron, `NAME_post` to the postsynaptic one, `NAME_synapse` to
the connection. A name that is used with both `_pre` and `_post` is one number of the neuron. The function returns the change.

A rule with memory declares states that it keeps from step to step, all 0 at the start of an episode: `NAME_trace` (one number per
connection), `NAME_pre_trace` and `NAME_post_trace` (one per neuron of that side). It returns a tuple: the change, then the new value
of each state in the order of the signature.

    def rewarded(pre, post, reward, e_trace, eta_post):
        e = 0.9 * e_trace + pre * post
        return eta_post * reward * e, e
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError, nearest
from nchl.user_code import load_object as load_object

_STATE = ("pre", "post", "weight", "reward")
_SUFFIXES = ("_pre", "_post", "_synapse")
_MEMORY = ("_pre_trace", "_post_trace", "_trace")


@dataclass(frozen=True)
class Rule:
    """A rule function and the declaration that its signature makes.

    Attributes:
        name: the function's name.
        function: the elementwise torch function; called with keywords, all broadcastable, returns the change.
        state: the arguments among `pre`, `post`, `weight` and `reward`.
        pre: parameters of the presynaptic neuron, in order of first appearance.
        post: parameters of the postsynaptic neuron.
        synapse: parameters of the connection.
        names: all neuron parameters in order of first appearance: the order within a neuron's block of the genome.
        memory: arguments that are states of the rule, in the order in which it returns them.
        terms: for a rule that is a rate times the sum of four terms A, B, C and D, the terms; D contains no activation.
        rate: for such a rule, the rate.
    """

    name: str
    function: Callable[..., Tensor]
    state: tuple[str, ...]
    pre: tuple[str, ...]
    post: tuple[str, ...]
    synapse: tuple[str, ...]
    names: tuple[str, ...]
    memory: tuple[str, ...] = ()
    terms: Callable[..., tuple[Tensor, ...]] | None = None
    rate: Callable[..., Tensor] | None = None

    @staticmethod
    def from_function(function: Callable[..., Tensor]) -> Rule:
        """Read a function's signature as a declaration.

        Raises:
            InvalidArgument: an argument that is neither an activation, the weight, nor a parameter with a suffix; or `*args`, defaults.
        """
        name = getattr(function, "__name__", type(function).__name__)
        found: dict[str, list[str]] = {suffix: [] for suffix in _SUFFIXES}
        state, names, memory = [], [], []
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"a rule is a Python function whose arguments can be read, or 'nchl', 'hl' or FILE.py:NAME; got {function!r}"
            ) from error
        for argument in signature.parameters.values():
            if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY) or argument.default is not argument.empty:
                hint = ""
                if argument.default is not argument.empty:
                    evolved = argument.name + ("" if argument.name.endswith(_SUFFIXES) else "_post")
                    hint = f"; write the constant in the body, {argument.name} = {argument.default!r}, or let evolution find it: {evolved}"
                raise InvalidArgument(f"rule {name!r}: expected plain arguments without defaults, got {str(argument)!r}{hint}")
            if argument.name in _STATE:
                state.append(argument.name)
                continue
            kept = next((s for s in _MEMORY if argument.name.endswith(s) and len(argument.name) > len(s)), None)
            if kept is not None:
                memory.append(argument.name)
                continue
            suffix = next((s for s in _SUFFIXES if argument.name.endswith(s) and len(argument.name) > len(s)), None)
            if suffix is None:
                near = nearest(argument.name, _STATE)
                hint = "" if near is None else f"did you mean {near!r}? "
                raise InvalidArgument(
                    f"rule {name!r}: cannot tell what argument {argument.name!r} is: {hint}expected pre, post, weight, reward, or a name "
                    f"that ends in _pre, _post (a neuron's parameter), _synapse (a connection's), _trace, _pre_trace or _post_trace "
                    f"(a state that the rule keeps), for example {argument.name + '_post'!r}"
                )
            parameter = argument.name.removesuffix(suffix)
            if "." in parameter:
                raise InvalidArgument(f"rule {name!r}: a parameter's name must not hold a dot, got {parameter!r}")
            found[suffix].append(parameter)
            if suffix != "_synapse" and parameter not in names:
                names.append(parameter)
        if not state and not any(found.values()):
            raise InvalidArgument(f"rule {name!r} takes no argument; expected at least one of pre, post, weight or a parameter")
        return Rule(
            name, function, tuple(state), tuple(found["_pre"]), tuple(found["_post"]), tuple(found["_synapse"]), tuple(names), tuple(memory)
        )

    @property
    def uses_weight(self) -> bool:
        """Whether the change depends on the weight itself."""
        return "weight" in self.state

    @property
    def uses_reward(self) -> bool:
        """Whether the change depends on the reward."""
        return "reward" in self.state

    def taken_apart(self, arguments: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The terms and the rate, from arguments by name; only for rules with `terms`."""
        assert self.terms is not None
        assert self.rate is not None

        def of(function: Callable[..., Any]) -> Any:
            return function(**{name: arguments[name] for name in inspect.signature(function).parameters})

        return of(self.terms), of(self.rate)

    def delta(
        self,
        pre: Shaped[Tensor, "*lead_pre inputs"],
        post: Shaped[Tensor, "*lead_post outputs"],
        weight: Shaped[Tensor, "*lead_weight outputs inputs"],
        pre_parameters: Mapping[str, Tensor],
        post_parameters: Mapping[str, Tensor],
        synapse_parameters: Mapping[str, Tensor],
    ) -> Shaped[Tensor, "*_shape"]:
        """The change of a dense layer's weights, over any broadcastable leading axes; only for rules without reward and memory.

        Args:
            pre: activations of the presynaptic neurons.
            post: activations of the postsynaptic neurons.
            weight: the layer's weights.
            pre_parameters: by name, each `(..., inputs)`; names that the rule does not use are ignored.
            post_parameters: by name, each `(..., outputs)`.
            synapse_parameters: by name, each `(..., outputs, inputs)`.

        Returns:
            A tensor that broadcasts to `(..., outputs, inputs)` (it has an axis of 1 where the rule is constant along it).
        """
        arguments = {"pre": pre.unsqueeze(-2), "post": post.unsqueeze(-1), "weight": weight}
        arguments |= {f"{name}_pre": pre_parameters[name].unsqueeze(-2) for name in self.pre}
        arguments |= {f"{name}_post": post_parameters[name].unsqueeze(-1) for name in self.post}
        arguments |= {f"{name}_synapse": synapse_parameters[name] for name in self.synapse}
        return self.call(arguments)[0]

    def call(self, arguments: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The change and the new states, from arguments by name; of these, activations that the signature lacks are ignored."""
        wanted = (*self.state, *self.memory)
        parameters = {n: t for n, t in arguments.items() if n.endswith(_SUFFIXES)}
        made = self.function(**{name: arguments[name] for name in wanted}, **parameters)
        return (made[0], tuple(made[1:])) if self.memory else (made, ())


def side(argument: str) -> str:
    """The owner of an argument: `"pre"`, `"post"` (a neuron), `"connection"`, or `"individual"` (the reward)."""
    if argument == "reward":
        return "individual"
    name = argument.removesuffix("_trace")
    return next((s for s in ("pre", "post") if name == s or name.endswith(f"_{s}")), "connection")


def load(place: str) -> Rule:
    """Load a user's rule from `"FILE.py:NAME"`.

    Raises:
        InvalidArgument: no such file, no such name in it, or a signature that is not a rule's.
    """
    function = load_object(place, "a rule")
    return function if isinstance(function, Rule) else Rule.from_function(function)


def check_rules(name: str, rules: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Raise a ShapeError unless the last axes of `rules` are `shape`; `what` describes these axes in the message."""
    if tuple(rules.shape[-len(shape) :]) != shape:
        raise ShapeError(f"{name}: expected (..., {', '.join(map(str, shape))}), {what}, got {tuple(rules.shape)}")


def check_lead(**leads: tuple[int, ...]) -> None:
    """Raise a ShapeError unless the leading axes, by name, broadcast."""
    try:
        torch.broadcast_shapes(*leads.values())
    except RuntimeError:
        shapes = ", ".join(f"{tuple(lead)} of {name}" for name, lead in leads.items())
        raise ShapeError(f"expected leading axes that broadcast, got {shapes}") from None
