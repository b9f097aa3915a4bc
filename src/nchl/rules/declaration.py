"""A local rule is one elementwise torch function, and its signature is its declaration.

    def oja(pre, post, weight, eta_post):
        return eta_post * post * (pre - post * weight)

`pre`, `post` and `weight` are the connection's two activations and its weight. Every other argument is a parameter:
`NAME_pre` belongs to the presynaptic neuron, `NAME_post` to the postsynaptic one, `NAME_synapse` to the connection. A name
that is used with both `_pre` and `_post` is one number of the neuron. The function returns the change of the weight.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError
from nchl.user_code import load_object as load_object

_STATE = ("pre", "post", "weight")
_SUFFIXES = ("_pre", "_post", "_synapse")

# Individuals, outputs and inputs on which a rule is tried: no two alike, so that no axis can stand for another one.
_TRIED = (2, 3, 5)
_ELEMENTWISE = (
    "write it for one connection, in elementwise operations on its arguments, which are shaped to broadcast "
    "(a tensor of a network's own size, such as a mask, cannot be part of a rule)"
)


@dataclass(frozen=True)
class Rule:
    """A rule function together with what its signature declares.

    Attributes:
        name: the function's name.
        function: the elementwise torch function; called with keywords, all broadcastable, returns the change.
        state: which of `pre`, `post`, `weight` it wants.
        pre: parameters of the presynaptic neuron, in order of first appearance.
        post: parameters of the postsynaptic neuron.
        synapse: parameters of the connection.
        names: all neuron parameters in order of first appearance: the order within a neuron's block of the genome.
    """

    name: str
    function: Callable[..., Tensor]
    state: tuple[str, ...]
    pre: tuple[str, ...]
    post: tuple[str, ...]
    synapse: tuple[str, ...]
    names: tuple[str, ...]

    @staticmethod
    def from_function(function: Callable[..., Tensor]) -> Rule:
        """Read the declaration off a function's signature.

        Raises:
            InvalidArgument: an argument that is neither an activation, the weight, nor a parameter with a suffix; or `*args`, defaults.
        """
        name = getattr(function, "__name__", type(function).__name__)
        found: dict[str, list[str]] = {suffix: [] for suffix in _SUFFIXES}
        state, names = [], []
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"a rule is a Python function whose arguments can be read, or 'nchl', 'hl' or FILE.py:NAME; got {function!r}"
            ) from error
        for argument in signature.parameters.values():
            if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY) or argument.default is not argument.empty:
                raise InvalidArgument(f"rule {name!r}: expected plain arguments without defaults, got {str(argument)!r}")
            if argument.name in _STATE:
                state.append(argument.name)
                continue
            suffix = next((s for s in _SUFFIXES if argument.name.endswith(s) and len(argument.name) > len(s)), None)
            if suffix is None:
                raise InvalidArgument(
                    f"rule {name!r}: cannot tell what argument {argument.name!r} is; expected pre, post, weight, or a name that "
                    f"ends in _pre, _post (a neuron's parameter) or _synapse (a connection's), for example {argument.name + '_post'!r}"
                )
            parameter = argument.name.removesuffix(suffix)
            if "." in parameter:
                raise InvalidArgument(f"rule {name!r}: a parameter's name must not hold a dot, got {parameter!r}")
            found[suffix].append(parameter)
            if suffix != "_synapse" and parameter not in names:
                names.append(parameter)
        if not state and not any(found.values()):
            raise InvalidArgument(f"rule {name!r} takes no argument; expected at least one of pre, post, weight or a parameter")
        return Rule(name, function, tuple(state), tuple(found["_pre"]), tuple(found["_post"]), tuple(found["_synapse"]), tuple(names))

    def tried(self) -> Rule:
        """The rule itself, after a small layer has shown that it runs, alone and in a population. What numbers it makes is its own affair.

        Raises:
            InvalidArgument: the function fails, gives something else than a tensor for the layer, or mixes individuals.
        """
        arguments = self._trial()
        together = self._attempt(arguments, _TRIED)
        for one in range(_TRIED[0]):
            alone = self._attempt({name: tensor[one].clone() for name, tensor in arguments.items()}, _TRIED[1:])
            # Nearly: some functions of torch round an element by where it stands.
            if not torch.allclose(alone, together[one], rtol=1e-4, atol=1e-6, equal_nan=True):
                raise InvalidArgument(
                    f"rule {self.name!r}: expected each individual of a population to get what he gets alone, and he gets something else: "
                    f"a sum or mean over everyone, or chance; {_ELEMENTWISE}"
                )
        return self

    def _trial(self) -> dict[str, Tensor]:
        """Arguments by name, shaped as a layer's with a population in front; numbers between 0 and 1, no two of them alike."""
        people, outputs, inputs = _TRIED
        shapes = {"pre": (people, 1, inputs), "post": (people, outputs, 1), "weight": _TRIED, "synapse": _TRIED}
        asked = (*self.state, *(f"{n}_pre" for n in self.pre), *(f"{n}_post" for n in self.post), *(f"{n}_synapse" for n in self.synapse))
        drawn = torch.Generator(device="cpu").manual_seed(0)
        return {name: torch.rand(shapes[name.rpartition("_")[2]], generator=drawn, device="cpu") for name in asked}

    def _attempt(self, arguments: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """The change of weights of this shape, with all of its axes."""
        try:
            with torch.no_grad():
                change = self.function(**{name: tensor.clone() for name, tensor in arguments.items()})
        except Exception as error:
            hint = f"; {_ELEMENTWISE}" if isinstance(error, (RuntimeError, IndexError, ValueError)) else ""
            raise InvalidArgument(
                f"rule {self.name!r} failed when tried on weights of shape {shape} ({type(error).__name__}: {error}){hint}"
            ) from error
        if not isinstance(change, Tensor):
            raise InvalidArgument(
                f"rule {self.name!r}: expected it to return a tensor, the change of the weights, got {type(change).__name__}"
                + ("; a return is missing" if change is None else "")
            )
        try:
            fits = change.ndim >= 2 and torch.broadcast_shapes(change.shape, shape) == shape
        except RuntimeError:
            fits = False
        if not fits:
            raise InvalidArgument(
                f"rule {self.name!r}: expected a change that broadcasts to the weights, got shape {tuple(change.shape)} for weights of "
                f"shape {shape}; {_ELEMENTWISE}"
            )
        return change.broadcast_to(shape)

    @property
    def uses_weight(self) -> bool:
        """Whether the change depends on the weight itself."""
        return "weight" in self.state

    def neuron_parameters(self, *, presynaptic: bool, postsynaptic: bool) -> tuple[str, ...]:
        """The parameters that a neuron needs which is presynaptic and/or postsynaptic to a plastic layer, in the genome's order."""
        used = (set(self.pre) if presynaptic else set()) | (set(self.post) if postsynaptic else set())
        return tuple(name for name in self.names if name in used)

    def delta(
        self,
        pre: Shaped[Tensor, "*lead_pre inputs"],
        post: Shaped[Tensor, "*lead_post outputs"],
        weight: Shaped[Tensor, "*lead_weight outputs inputs"],
        pre_parameters: Mapping[str, Tensor],
        post_parameters: Mapping[str, Tensor],
        synapse_parameters: Mapping[str, Tensor],
    ) -> Shaped[Tensor, "*_shape"]:
        """The change of a dense layer's weights, over any broadcastable leading axes.

        Args:
            pre: activations of the presynaptic neurons.
            post: activations of the postsynaptic neurons.
            weight: the layer's weights.
            pre_parameters: by name, each `(..., inputs)`; names that the rule does not use are not looked at.
            post_parameters: by name, each `(..., outputs)`.
            synapse_parameters: by name, each `(..., outputs, inputs)`.

        Returns:
            A tensor that broadcasts to `(..., outputs, inputs)` (it has an axis of 1 where the rule is constant along it).
        """
        return self.change(pre, post, weight, self.arguments(pre_parameters, post_parameters, synapse_parameters))

    def arguments(
        self, pre_parameters: Mapping[str, Tensor], post_parameters: Mapping[str, Tensor], synapse_parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The parameters of `delta` as the function takes them: by argument, with an axis for the other neuron. They last a life."""
        return (
            {f"{name}_pre": pre_parameters[name].unsqueeze(-2) for name in self.pre}
            | {f"{name}_post": post_parameters[name].unsqueeze(-1) for name in self.post}
            | {f"{name}_synapse": synapse_parameters[name] for name in self.synapse}
        )

    def change(self, pre: Tensor, post: Tensor, weight: Tensor, arguments: Mapping[str, Tensor]) -> Tensor:
        """`delta` with parameters that were prepared by `arguments`."""
        state = {}
        if "pre" in self.state:
            state["pre"] = pre.unsqueeze(-2)
        if "post" in self.state:
            state["post"] = post.unsqueeze(-1)
        if "weight" in self.state:
            state["weight"] = weight
        return self.function(**state, **arguments)


def load(place: str) -> Rule:
    """A user's rule from `"FILE.py:NAME"`.

    Raises:
        InvalidArgument: no such file, no such name in it, or no rule by its signature.
    """
    function = load_object(place, "a rule")
    return function if isinstance(function, Rule) else Rule.from_function(function)


def check_rules(name: str, rules: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Raise a ShapeError unless the last axes of `rules` are `shape`; `what` says what they run over."""
    if tuple(rules.shape[-len(shape) :]) != shape:
        raise ShapeError(f"{name}: expected (..., {', '.join(map(str, shape))}), {what}, got {tuple(rules.shape)}")


def check_lead(**leads: tuple[int, ...]) -> None:
    """Raise a ShapeError unless the leading axes, by name, broadcast."""
    try:
        torch.broadcast_shapes(*leads.values())
    except RuntimeError:
        shapes = ", ".join(f"{tuple(lead)} of {name}" for name, lead in leads.items())
        raise ShapeError(f"expected leading axes that broadcast, got {shapes}") from None
