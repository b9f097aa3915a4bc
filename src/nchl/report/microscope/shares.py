"""How much of a layer's change each parameter of its rule accounts for: the part that disappears if the parameter is 0.

For NcHL and ABCD, whose terms have one factor each, that is |eta * term|, and is computed as such.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nchl.genome import Layout
from nchl.rules import ABCD, NCHL, Rule

BUILT_IN = (NCHL, ABCD)  # split by their terms A, B, C and D; eta multiplies all of them
_SEEN = {"pre", "post", "weight"}  # inputs of a rule that are known from a single step


class Shares:
    """Splits the changes of one rule by its parameters.

    Args:
        rule: the rule.
        genome: block name -> values, shaped as in the layout.
        layout: layout of the genome.

    Attributes:
        names: the parameters; empty if the change cannot be split.
        why: the reason, as a sentence for readers, if it cannot.
    """

    def __init__(self, rule: Rule, genome: Mapping[str, Tensor], layout: Layout) -> None:
        self._rule, self._genome, self._layout = rule, genome, layout
        names = tuple(dict.fromkeys([*rule.names, *rule.synapse]))
        if rule in BUILT_IN:
            names = tuple("ABCD")
        reason = ""
        if rule.memory or not set(rule.state) <= _SEEN:
            used = ["the reward"] * rule.uses_reward + [f"states of its own ({', '.join(rule.memory)})"] * bool(rule.memory)
            reason = f"uses {' and '.join(used)}, which a step's activations and weights do not tell"
        elif len(names) < 2:
            reason = f"has one parameter, {names[0]}" if names else "has no parameters"
        self.why = reason and f"The rule {rule.name} {reason}: there are no shares of the change, only the total."
        self.names = () if reason else names

    def of(
        self,
        groups: tuple[str, str],
        synapses: str | None,
        pre: Float[np.ndarray, " n_in"],
        post: Float[np.ndarray, " n_out"],
        weight: Float[np.ndarray, "n_out n_in"],
    ) -> Float[np.ndarray, " names"]:
        """Sum over the connections of |change - change with this parameter at 0|, for each parameter.

        Args:
            groups: names of the blocks of the presynaptic and the postsynaptic group.
            synapses: name of the block with the connections' own parameters, or None.
            pre: activations of the presynaptic neurons as the rule got them.
            post: activations of the postsynaptic neurons.
            weight: weights before the update of the step.
        """
        arguments = self._arguments(groups, synapses)
        state = {"pre": _double(pre)[None, :], "post": _double(post)[:, None], "weight": _double(weight)}
        inputs = {name: state[name] for name in self._rule.state}

        def change(parameters: Mapping[str, Tensor]) -> Tensor:
            return self._rule.function(**inputs, **parameters).broadcast_to(weight.shape)

        if self._rule in BUILT_IN:
            terms, rate = self._rule.taken_apart({**state, **arguments})
            return np.array([float((rate * term).abs().sum()) for term in terms])
        with torch.no_grad():
            whole = change(arguments)
            without = [
                change({k: torch.zeros_like(v) if k.rpartition("_")[0] == name else v for k, v in arguments.items()}) for name in self.names
            ]
            return np.array([float((whole - part).abs().sum()) for part in without])

    def _arguments(self, groups: tuple[str, str], synapses: str | None) -> dict[str, Tensor]:
        before, after = groups
        arguments = {f"{name}_pre": self._parameter(before, name)[None, :] for name in self._rule.pre}
        arguments |= {f"{name}_post": self._parameter(after, name)[:, None] for name in self._rule.post}
        if synapses is not None:
            arguments |= {f"{name}_synapse": self._parameter(synapses, name) for name in self._rule.synapse}
        return arguments

    def _parameter(self, block: str, name: str) -> Tensor:
        return self._genome[block][..., self._layout.block(block).parameters.index(name)]


def _double(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float64)
