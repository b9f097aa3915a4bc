"""The options that determine a network and its plasticity, and the networks to which each applies.

This module has the names of the networks; `networks.build` makes them. It imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from nchl.runs.settings.options import MODULE, is_file_network, option

FLAT = ("nchl", "hl", "wnchl", "static", "gru")  # networks for vectors, with hidden layers to choose
NETWORKS = (*FLAT, "conv-thesis", "conv-hml")
STATIC = ("static", "gru")  # networks with constant weights
IMAGE_SIZES = {"conv-thesis": (64, 64), "conv-hml": (84, 84)}  # input of the published networks
GRU_HIDDEN = (16,)  # of the GRU to which Hebbian Attractor Networks, arXiv 2603.22512, are compared
OWN = "FILE.py:NAME"
RULES = {"nchl": "nchl", "hl": "hl", "conv-thesis": "nchl", "conv-hml": "hl"}  # of the networks that have one, unless another is given
CONVS = ("conv-thesis", "conv-hml", OWN)
_WITH_WEIGHTS = ("nchl", "hl", *CONVS)  # networks that draw weights and change them
_SHARED = ("conv-thesis", OWN)  # networks with plastic convolutions

NETWORK_SETTINGS = (
    "network", "rule", "hidden", "window", "recurrent", "initial_weights", "average", "every", "trace", "modulate", "normalise", "sharing",
    "termwise", "evolve_biases",
)  # fmt: skip
# A user's network may have no part to which these apply. Given values are passed on and refused there; defaults are not.
OWN_MAY_LACK = ("sharing", "termwise", "initial_weights", "normalise", "average", "every", "trace", "modulate")
_WEIGHTS = ("uniform", "zeros", "normal", "xavier", "kaiming", "uniform1", "sparse", "coevolved")

_option = partial(option, group="network")
_plastic = partial(_option, networks=_WITH_WEIGHTS)


@dataclass(frozen=True)
class NetworkOptions:
    """Fields of `EvolveConfig`."""

    network: str | None = _option("str", "nchl", f"{', '.join(NETWORKS)}, or your own as {OWN} (which runs that file)", metavar="NAME")
    rule: str | None = _option(
        *("str", None, f"nchl, hl, or your own as {OWN} (which runs that file), in place of the network's"),
        metavar="NAME",
        networks=("nchl", *CONVS),
    )
    hidden: tuple[int, ...] | None = _option(
        *("ints", (128, 64), "neurons of each hidden layer (default: 128 64; 16 for gru)"), metavar="NEURONS", networks=FLAT, least=1
    )
    window: int | None = _option("int", 20, "steps whose updates make up the weights", metavar="STEPS", networks=("wnchl",), least=1)
    recurrent: bool | None = _option(
        "bool",
        False,
        "each hidden layer also sees its own activations of the step before (static: an Elman network)",
        networks=("nchl", "hl", "static"),
    )
    initial_weights: str | None = _plastic("str", "uniform", "weights at the beginning of each lifetime", choices=_WEIGHTS, metavar="NAME")
    average: str | None = _plastic(
        "str",
        "none",
        "the rule sees averages of activations: mean:M, the mean of the last M steps; ema:A, A times the newest and 1 - A times the rest",
        metavar="none|mean:M|ema:A",
    )
    every: int | None = _plastic("int", 1, "steps from one change of the weights to the next", metavar="STEPS")
    trace: float | None = _plastic("float", None, "decay of an eligibility trace of each connection, 0 to 1", metavar="GAMMA")
    modulate: str | None = _plastic(
        "str",
        "none",
        "factor on each change: the reward of the step, or the reward less its running mean of rate B (advantage:B)",
        metavar="none|reward|advantage:B",
    )
    normalise: str | None = _plastic(
        "str",
        "none",
        "after each change of a layer's weights: divide them by the largest absolute one (max), each neuron's by their norm (row), "
        "by their deviation, less their mean (zscore), or cut them to at most C (clip:C) (default: none; max for convolutional networks)",
        metavar="none|max|row|zscore|clip:C",
    )
    sharing: str | None = _option(
        "str",
        "max",
        "aggregate of the connections' updates that a kernel element takes",
        choices=("max", "min", "median", "mean"),
        networks=_SHARED,
    )
    termwise: bool | None = _option("bool", False, "share each term of the rule by itself: the thesis's cheaper form", networks=_SHARED)
    evolve_biases: bool | None = _option(
        "bool", False, "evolve the biases of your own network; else they are constants, drawn under the seed", networks=(OWN,)
    )
    backend: str | None = _plastic(
        "str",
        "auto",
        "implementation of a step; auto decides by the sizes alone",
        choices=("auto", "eager", "compiled"),
    )
    device: str | None = _option("str", "cpu", "the torch device of the networks", metavar="DEVICE")


def with_rule(network: str, rule: str | None) -> tuple[str, str | None]:
    """A network and the name of its rule, in one form for all settings that give the same network.

    A network from a file may be a finished one, whose rules are its own: its rule is None, as is the default of an `nn.Sequential` there.
    """
    if is_file_network(network) and not network.startswith(MODULE):
        return network, None if rule == "nchl" else rule
    rule = rule or ("nchl" if is_file_network(network) else RULES.get(network))
    return "hl" if (network, rule) == ("nchl", "hl") else network, rule


def default_of(name: str, network: str) -> Any:
    """The default of an option that depends on the network; None if it does not."""
    if name == "hidden" and network == "gru":
        return GRU_HIDDEN
    if name == "image_size":
        return IMAGE_SIZES.get(network)
    return "max" if name == "normalise" and (network in CONVS or is_file_network(network)) else None
