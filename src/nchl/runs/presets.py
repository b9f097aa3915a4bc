"""Settings of published experiments, each with its source and with what differs from the published code.

A preset is a dictionary of options of `nchl evolve`; options that are given explicitly override it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nchl.errors import UnknownName

_NCHL = "Ferigo, Cunegatti, Iacca: Neuron-centric Hebbian Learning, GECCO 2024, arXiv 2403.12076"
_HML = "Najarro, Risi: Meta-Learning through Hebbian Plasticity in Random Networks, NeurIPS 2020, arXiv 2007.02686"


@dataclass(frozen=True)
class Preset:
    """One published experiment.

    Attributes:
        settings: options by field name of `EvolveConfig`.
        source: paper and place that the settings come from.
        corrected: what differs from the published code, and what that changes.
    """

    settings: dict[str, Any]
    source: str
    corrected: str = ""


PRESETS: dict[str, Preset] = {
    "cartpole": Preset(
        settings={
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
            "here every neuron has numbers of its own. Everyone in a generation meets the same starts; the notebook does not seed them."
        ),
    ),
    "paper-ant-bullet": Preset(
        settings={
            "task": "AntBulletEnv-v0",
            "network": "nchl",
            "hidden": (128, 64),
            "initial_weights": "uniform",
            "normalise": "none",
            "strategy": "openai-es",
            "population": 100,
            "generations": 100,
            "sigma": 0.1,
            "sigma_decay": 0.999,
            "lr": 0.02,
            "lr_decay": 0.995,
            "antithetic": True,
            "initial_genome": "normal",
            "episodes": 1,
        },
        source=f"{_NCHL}; task.py of its code: 28-128-64-8, 1,104 numbers, fitness the progress reward (extra: bullet)",
        corrected=(
            "The published code writes lr 0.2 but multiplies the ranks by the candidates in place of the noise, "
            "which makes each step sigma = 0.1 times what is written: 0.02 is the step that it takes. "
            "Its example stops after 2 generations; here 100. Its weights begin as torch's Linear layers do; "
            "here U(-0.1, 0.1), drawn anew each episode."
        ),
    ),
    "halfcheetah": Preset(
        settings={
            "task": "HalfCheetah-v5",
            "network": "nchl",
            "hidden": (128, 64),
            "initial_weights": "uniform",
            "normalise": "max",
            "strategy": "openai-es",
            "population": 200,
            "generations": 100,
            "sigma": 0.1,
            "sigma_decay": 0.999,
            "lr": 0.2,
            "lr_decay": 0.995,
            "antithetic": True,
            "initial_genome": "normal",
            "episodes": 1,
        },
        source=f"{_HML}: its search, with the neuron-centric rule",
        corrected=(
            "The published code multiplies the ranks by the candidates in place of the noise, "
            "so its steps are sigma times smaller than written."
        ),
    ),
}


_THESIS = "The master thesis Neuron-Centric Hebbian Learning for Convolutional Networks"
_CARRACING: dict[str, Any] = {
    "task": "CarRacing-v3",
    "initial_weights": "uniform",
    "normalise": "max",
    "strategy": "openai-es",
    "generations": 200,
    "sigma": 0.1,
    "sigma_decay": 0.999,
    "lr": 0.02,
    "lr_decay": 0.995,
    "initial_genome": "normal",
    "episodes": 1,
}
_SMALLER_STEPS = (
    "The published code writes lr 0.2 but multiplies the ranks by the candidates in place of the noise, "
    "which makes each step sigma = 0.1 times what is written: 0.02 is the step that it takes. "
    "Everyone in a generation drives on the same track; there, the tracks are not seeded. "
)

for _sharing in ("max", "min", "median"):
    PRESETS[f"thesis-carracing-{_sharing}"] = Preset(
        settings={
            **_CARRACING,
            "network": "conv-thesis",
            "image_size": (64, 64),
            "sharing": _sharing,
            "termwise": True,
            "population": 300,
            "antithetic": False,
        },
        source=f"{_THESIS}: CarRacing, 173,284 numbers, 300 candidates, not mirrored, sharing by {_sharing}, term by term",
        corrected=_SMALLER_STEPS
        + "There, a kernel begins as one random number and keeps random biases; here every element is drawn and there are no biases.",
    )

PRESETS["hml-carracing"] = Preset(
    settings={**_CARRACING, "network": "conv-hml", "image_size": (84, 84), "population": 200, "generations": 300, "antithetic": True},
    source=f"{_HML}: CarRacing, 456,640 rules of the linear layers and 1,362 evolved weights of the convolutions",
    corrected=_SMALLER_STEPS,
)


def preset_settings(name: str) -> dict[str, Any]:
    """A copy of the settings of one preset.

    Raises:
        UnknownName: no such preset; offers the nearest.
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return dict(PRESETS[name].settings)
