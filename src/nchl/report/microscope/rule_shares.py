"""What each parameter of a user's rule has to do with a step: how much of a layer's change is not there where it is 0.

For the rules of this package, whose terms have a factor of their own each, that is |eta * term|.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nchl.genome import Layout
from nchl.rules import Rule

_SEEN = {"pre", "post", "weight"}  # what a single step can be taken apart by


class Shares:
    """The shares of a rule's own parameters.

    Args:
        rule: the user's.
        genome: block -> its numbers, shaped as in the layout.
        layout: of the genome.

    Attributes:
        names: of the parameters; empty where there is nothing to divide.
        why: then, the reason, as a sentence for readers.
    """

    def __init__(self, rule: Rule, genome: Mapping[str, np.ndarray], layout: Layout) -> None:
        self._rule, self._genome, self._layout = rule, genome, layout
        names = tuple(dict.fromkeys([*rule.names, *rule.synapse]))
        self.why = ""
        memory = rule.memory
        if memory or not set(rule.state) <= _SEEN:
            used = " and ".join(["the reward"] * rule.uses_reward + [f"states of its own ({', '.join(memory)})"] * bool(memory))
            self.why = (
                f"The rule {rule.name} uses {used}, which a step's activations and weights do not tell: "
                "there are no shares of the change, only the total."
            )
        elif len(names) == 1:
            self.why = f"The rule {rule.name} has one parameter, {names[0]}: there are no shares of the change, only the total."
        elif not names:
            self.why = f"The rule {rule.name} has no parameters: there are no shares of the change, only the total."
        self.names = () if self.why else names

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
            groups: names of the presynaptic and the postsynaptic group's blocks.
            synapses: name of the block of the connections' own numbers, or None.
            pre: what the rule saw of the presynaptic neurons.
            post: what it saw of the postsynaptic ones.
            weight: before the step's update.
        """
        arguments = self._arguments(groups, synapses)
        state = {"pre": _tensor(pre)[None, :], "post": _tensor(post)[:, None], "weight": _tensor(weight)}
        seen = {name: state[name] for name in self._rule.state}
        whole = self._change(seen, arguments, weight.shape)
        found = []
        for name in self.names:
            without = {k: torch.zeros_like(v) if k.rpartition("_")[0] == name else v for k, v in arguments.items()}
            found.append(float((whole - self._change(seen, without, weight.shape)).abs().sum()))
        return np.array(found)

    def _change(self, seen: Mapping[str, Tensor], arguments: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        with torch.no_grad():
            return self._rule.function(**seen, **arguments).broadcast_to(shape)

    def _arguments(self, groups: tuple[str, str], synapses: str | None) -> dict[str, Tensor]:
        before, after = groups
        made = {f"{name}_pre": self._column(before, name)[None, :] for name in self._rule.pre}
        made |= {f"{name}_post": self._column(after, name)[:, None] for name in self._rule.post}
        if synapses is not None:
            made |= {f"{name}_synapse": self._column(synapses, name) for name in self._rule.synapse}
        return made

    def _column(self, block: str, name: str) -> Tensor:
        """The numbers of one parameter in a block."""
        return _tensor(self._genome[block][..., self._layout.block(block).parameters.index(name)])


def _tensor(array: np.ndarray) -> Tensor:
    return torch.as_tensor(np.array(array, dtype=np.float64))
