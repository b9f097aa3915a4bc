"""Local rules as pure functions of tensors, batched over leading axes; nothing is mutated.

`abcd` and `neuron_centric` (and, for convolutions, `neuron_centric_conv` and `softhebb_conv`) compute the updates of whole
layers; `Rule` is the declaration that networks read; `get` returns one from a name, a file or a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from nchl import lazy
from nchl.errors import UnknownName
from nchl.rules.declaration import Rule as Rule
from nchl.rules.declaration import load as load
from nchl.rules.neuronal import NCHL as NCHL
from nchl.rules.neuronal import neuron_centric as neuron_centric
from nchl.rules.synaptic import ABCD as ABCD
from nchl.rules.synaptic import abcd as abcd
from nchl.rules.trial import tried
from nchl.user_code import refuse_file_alone

if TYPE_CHECKING:
    from nchl.rules.convolution.sharing import neuron_centric_conv as neuron_centric_conv
    from nchl.rules.softhebb import softhebb_conv as softhebb_conv

BUILT_IN = {"nchl": NCHL, "hl": ABCD}

# Loaded when first used: most networks have no convolution.
_HOMES = {"neuron_centric_conv": "convolution.sharing", "softhebb_conv": "softhebb"}

__all__ = ["ABCD", "BUILT_IN", "NCHL", "Rule", "abcd", "get", "load", "neuron_centric", "neuron_centric_conv", "softhebb_conv"]


def get(rule: str | Callable[..., Tensor] | Rule) -> Rule:
    """A rule from its name (`"nchl"`, `"hl"`), its place (`"FILE.py:NAME"`) or a function; a user's rule is tried once.

    Raises:
        UnknownName: a string that is neither a known name nor a place.
        InvalidArgument: a file without a name in it, a file or a signature that cannot be used, or the function fails the trial; see
            `rules.trial`.
    """
    if isinstance(rule, str) and rule in BUILT_IN:
        return BUILT_IN[rule]
    if isinstance(rule, Rule):
        return rule if rule in BUILT_IN.values() else tried(rule)
    if not isinstance(rule, str):
        return tried(Rule.from_function(rule))
    if ":" in rule:
        return tried(load(rule))
    refuse_file_alone(rule, "rule", "function")
    raise UnknownName("rule", rule, [*BUILT_IN, "FILE.py:NAME"])


__getattr__, __dir__ = lazy.names(__name__, _HOMES)
