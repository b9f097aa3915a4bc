"""A local rule is one elementwise torch function, and its signature is its declaration.

    def oja(pre, post, weight, eta_post):
        return eta_post * post * (pre - post * weight)

`pre`, `post` and `weight` are the connection's two activations and its weight. Every other argument is a parameter:
`NAME_pre` belongs to the presynaptic neuron, `NAME_post` to the postsynaptic one, `NAME_synapse` to the connection. A name
that is used with both `_pre` and `_post` is one number of the neuron. The function returns the change of the weight.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument

_STATE = ("pre", "post", "weight")
_SUFFIXES = ("_pre", "_post", "_synapse")


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
        for argument in inspect.signature(function).parameters.values():
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


def load_object(place: str, what: str) -> Callable[..., Tensor]:
    """The callable NAME of `"FILE.py:NAME"`; `what` it is meant to be goes into the errors.

    Raises:
        InvalidArgument: no such file, the file fails to run, or it holds no such callable.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not file or not name.isidentifier():
        raise InvalidArgument(f"expected {what} as FILE.py:NAME, got {place!r}")
    if path.suffix != ".py":  # Python would load compiled code as well, which nobody can look at before
        raise InvalidArgument(f"{what}: {file!r} is not a Python file; its name must end in .py")
    if not path.is_file():
        raise InvalidArgument(f"{what}: there is no file {file!r}")
    module_name = f"nchl_user_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"{what}: {file!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise InvalidArgument(f"{what}: {file!r} could not be run ({type(error).__name__}: {error})") from error
    found = getattr(module, name, None)
    if not callable(found) and not isinstance(found, Rule):
        raise InvalidArgument(f"{what}: {file!r} holds no function {name!r}")
    return found  # type: ignore[no-any-return]
