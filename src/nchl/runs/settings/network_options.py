"""The options that say what a network is and how it changes, and the networks that each is for.

The names of the networks stand here; `networks.build` makes them. The module imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from nchl.runs.settings.options import option

HEADING = "network"  # of the help
FLAT = ("nchl", "hl", "wnchl", "static", "gru")  # these take vectors, and have hidden layers to choose
NETWORKS = (*FLAT, "conv-thesis", "conv-hml")
STATIC = ("static", "gru")  # whose weights never change in an episode
IMAGE_SIZES = {"conv-thesis": (64, 64), "conv-hml": (84, 84)}  # what the published networks see
KINDS_OF_WEIGHTS = ("uniform", "zeros", "normal", "xavier", "kaiming", "uniform1", "sparse", "coevolved")

OWN = "FILE.py:NAME"
CONVS = ("conv-thesis", "conv-hml", OWN)
SHARED = ("conv-thesis", OWN)  # whose convolutions move
RULED = ("nchl", *CONVS)
WITH_WEIGHTS = ("nchl", "hl", *CONVS)  # these draw weights and change them
WITH_HIDDEN_TO_LOOP = ("nchl", "hl", "static")  # whose hidden layers may lead to themselves
GRU_HIDDEN = (16,)  # of the GRU that Hebbian Attractor Networks, arXiv 2603.22512, are compared with
NETWORK_SETTINGS = (
    "network", "rule", "hidden", "window", "recurrent", "initial_weights", "average", "every", "trace", "modulate", "normalise", "sharing",
    "termwise", "evolve_biases",
)  # fmt: skip
# A user's network may have no part for these: what was given is passed on, and refused there; defaults are not.
OWN_MAY_LACK = ("sharing", "termwise", "initial_weights", "normalise", "average", "every", "trace", "modulate")

RULE: Any = option(
    "str",
    None,
    "a rule of your own (which runs that file) in place of the network's",
    HEADING,
    metavar=OWN,
    networks=RULED,
)
HIDDEN: Any = option(
    "ints", (128, 64), "neurons of each hidden layer (default: 128 64; 16 for gru)", HEADING, metavar="NEURONS", networks=FLAT
)
WINDOW: Any = option("int", 20, "steps whose updates make up the weights", HEADING, metavar="STEPS", networks=("wnchl",))
RECURRENT: Any = option(
    "bool",
    False,
    "each hidden layer also sees its own activations of the step before (static: an Elman network)",
    HEADING,
    networks=WITH_HIDDEN_TO_LOOP,
)
INITIAL_WEIGHTS: Any = option(
    "str",
    "uniform",
    "weights at the beginning of each life",
    HEADING,
    choices=KINDS_OF_WEIGHTS,
    metavar="NAME",
    networks=WITH_WEIGHTS,
)
AVERAGE: Any = option(
    "str",
    "none",
    "the rule sees averages of activations: mean:M, the mean of the last M steps; ema:A, A times the newest and 1 - A times the rest",
    HEADING,
    metavar="none|mean:M|ema:A",
    networks=WITH_WEIGHTS,
)
EVERY: Any = option("int", 1, "steps from one change of the weights to the next", HEADING, metavar="STEPS", networks=WITH_WEIGHTS)
TRACE: Any = option(
    "float", None, "decay of an eligibility trace of each connection, 0 to 1", HEADING, metavar="GAMMA", networks=WITH_WEIGHTS
)
MODULATE: Any = option(
    "str",
    "none",
    "what a change is multiplied by: the reward of the step, or the reward less its running mean of rate B (advantage:B)",
    HEADING,
    metavar="none|reward|advantage:B",
    networks=WITH_WEIGHTS,
)
NORMALISE: Any = option(
    "str",
    "none",
    "after each change of a layer's weights: divide them by the largest absolute one (max), each neuron's by their norm (row), "
    "by their deviation, less their mean (zscore), or cut them to at most C (clip:C) (default: none; max for convolutional networks)",
    HEADING,
    metavar="none|max|row|zscore|clip:C",
    networks=WITH_WEIGHTS,
)
SHARING: Any = option(
    "str",
    "max",
    "how the connections of a kernel element agree on one update",
    HEADING,
    choices=("max", "min", "median", "mean"),
    networks=SHARED,
)
TERMWISE: Any = option("bool", False, "share each term of the rule by itself: the thesis's cheaper form", HEADING, networks=SHARED)
EVOLVE_BIASES: Any = option(
    "bool",
    False,
    "evolve the biases of your own network; else they are constants, drawn under the seed",
    HEADING,
    networks=(OWN,),
)
BACKEND: Any = option(
    "str",
    "auto",
    "how a step is computed; auto decides by the sizes alone",
    HEADING,
    choices=("auto", "eager", "compiled"),
    networks=WITH_WEIGHTS,
)
