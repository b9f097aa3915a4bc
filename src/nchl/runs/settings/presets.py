"""Settings of published experiments, each with its source and its differences from the published code, and one of our own.

A preset is a dictionary of options of `nchl evolve`; options that are given explicitly override it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nchl.errors import UnknownName

_NCHL = "Ferigo, Cunegatti, Iacca: Neuron-centric Hebbian Learning, GECCO 2024, arXiv 2403.12076"
_HML = "Najarro, Risi: Meta-Learning through Hebbian Plasticity in Random Networks, NeurIPS 2020, arXiv 2007.02686"
_THESIS = "The master thesis Neuron-Centric Hebbian Learning for Convolutional Networks"
_HAN = "Hebbian Attractor Networks, arXiv 2603.22512, with the settings of its public code"


@dataclass(frozen=True)
class Preset:
    """One experiment.

    Attributes:
        settings: options by field name of `EvolveConfig`.
        source: paper, and place of the settings in it; or the page that they come from.
        corrected: differences from the published code, and their effect.
    """

    settings: dict[str, Any]
    source: str
    corrected: str = ""


_OPENAI_ES: dict[str, Any] = {
    "strategy": "openai-es",
    "population": 200,
    "sigma": 0.1,
    "sigma_decay": 0.999,
    "lr": 0.2,
    "lr_decay": 0.995,
    "antithetic": True,
    "initial_genome": "normal",
    "initial_weights": "uniform",
    "normalise": "max",
    "episodes": 1,
}
_CARRACING: dict[str, Any] = {**_OPENAI_ES, "task": "CarRacing-v3", "lr": 0.02, "generations": 200}
_SMALLER_STEPS = (
    "The published code writes lr 0.2 but multiplies the ranks by the candidates in place of the noise, "
    "which makes each step sigma = 0.1 times as long as written: 0.02 is the step that it takes. "
)
_ANT: dict[str, Any] = {
    **_OPENAI_ES,
    "task": "AntBulletEnv-v0",
    "network": "nchl",
    "hidden": (128, 64),
    "normalise": "none",
    "population": 100,
    "generations": 100,
    "lr": 0.02,
}
_ATTRACTORS: dict[str, Any] = {
    **_OPENAI_ES,
    "task": "HalfCheetah-v5",
    "hidden": (16,),
    "population": 512,
    "generations": 1000,
    "sigma": 0.2,
    "sigma_decay": 0.999995,
    "optimizer": "adam",
    "lr": 0.1,
    "lr_decay": 0.999999,
    "initial_genome": "zeros",
    "episodes": 4,
}
# The five conditions of Hebbian Attractor Networks: normalisation, interval and average.
_CONDITIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "a": ("no normalisation", {"normalise": "none"}),
    "b": ("weights divided by the largest after each change", {}),
    "c": ("as B, and a change every 4 steps", {"every": 4}),
    "d": ("as B, from means of 10 steps", {"average": "mean:10"}),
    "e": ("as B, a change every 4 steps from means of 10", {"every": 4, "average": "mean:10"}),
}

PRESETS: dict[str, Preset] = {
    "cartpole": Preset(
        {
            "task": "CartPole-v1",
            "network": "nchl",
            "hidden": (10,),
            "initial_weights": "zeros",
            "normalise": "none",
            "strategy": "cma-es",
            "population": 20,
            "generations": 20,
            "sigma": 1.0,
            "initial_genome": "uniform",
            "episodes": 1,
        },
        source=f"{_NCHL}; the sample notebook of its code: NcHL 4-10-2, 74 numbers, CMA-ES from U(-1, 1) with sigma 1",
        corrected=(
            "The notebook's hidden layer reads the input layer's numbers again and leaves the end of the genome unread; "
            "here every neuron has its own numbers. All individuals of a generation have the same starts; the notebook does not seed them."
        ),
    ),
    "paper-ant-bullet": Preset(
        _ANT,
        source=f"{_NCHL}; task.py of its code: 28-128-64-8, 1,104 numbers, fitness the progress reward (extra: bullet)",
        corrected=f"{_SMALLER_STEPS}Its example stops after 2 generations; here 100. Its weights begin as torch's Linear layers do; "
        "here U(-0.1, 0.1), drawn anew each episode.",
    ),
    "halfcheetah": Preset(
        {
            "task": "HalfCheetah-v5",
            "network": "nchl",
            "hidden": (128, 64),
            "normalise": "max",
            "strategy": "pgpe",
            "population": 200,
            "generations": 50,
            "sigma": 0.3,
            "lr": 2.5,
            "lr_schedule": "constant",
            "validation_episodes": 8,
        },
        source="Ours: the search that docs/search.md recommends, 10 million steps",
    ),
    **{
        f"thesis-carracing-{sharing}": Preset(
            _CARRACING
            | {
                "network": "conv-thesis",
                "image_size": (64, 64),
                "sharing": sharing,
                "termwise": True,
                "population": 300,
                "antithetic": False,
            },
            source=f"{_THESIS}: CarRacing, 173,284 numbers, 300 candidates, not mirrored, sharing by {sharing}, term by term",
            corrected=f"{_SMALLER_STEPS}All individuals of a generation drive on the same track; there, the tracks are not seeded. There, "
            "a kernel begins as one random number and keeps random biases; here every element is drawn and there are no biases.",
        )
        for sharing in ("max", "min", "median")
    },
    "hml-carracing": Preset(
        _CARRACING | {"network": "conv-hml", "image_size": (84, 84), "generations": 300},
        source=f"{_HML}: CarRacing, 456,640 rules of the linear layers and 1,362 evolved weights of the convolutions",
        corrected=f"{_SMALLER_STEPS}All individuals of a generation drive on the same track; there, the tracks are not seeded.",
    ),
    **{
        f"han-{condition}{'' if rule == 'hl' else '-nchl'}": Preset(
            {**_ATTRACTORS, "network": rule, **time},
            source=f"{_HAN}: condition {condition.upper()}, {words}; inputs-16-outputs, tanh, weights from U(-0.1, 0.1)"
            + ("" if rule == "hl" else "; with the neuron-centric rule in place of the synapse-centric one"),
            corrected="There, returns are sums over 1,000 steps even if an episode has terminated, which those of HalfCheetah never do. "
            "The centre begins at 0, which is the mean of the coefficients there.",
        )
        for condition, (words, time) in _CONDITIONS.items()
        for rule in ("hl", "nchl")
    },
    **{
        f"paper-97x{'' if rule == 'nchl' else '-hl'}": Preset(
            {**_ANT, "network": rule, "hidden": (256, 128)},
            source=(
                f'{_NCHL}; the network of its abstract\'s "up to ~97 times": 28-256-128-8, where HL has 5 x 40,960 = 204,800 numbers and '
                f"NcHL 5 x 420 = 2,100, 97.5 times fewer. This one is {name}: 5 numbers for each of {numbers} (extra: bullet)"
            ),
            corrected=(
                "NcHL needs no A of its 8 outputs and no B of its 28 inputs, so that its genome has 2,064 numbers, 99.2 times fewer. "
                "The published code has AntBullet with 128 and 64 hidden neurons alone: task and search are those of its task.py, see "
                "paper-ant-bullet."
            ),
        )
        for rule, name, numbers in (("nchl", "NcHL", "420 neurons"), ("hl", "HL", "40,960 weights"))
    },
}


def preset_settings(name: str) -> dict[str, Any]:
    """A copy of the settings of one preset.

    Raises:
        UnknownName: no such preset; offers the nearest.
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return dict(PRESETS[name].settings)
