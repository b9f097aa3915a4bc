"""Named lists of perturbations, each with its source. `nchl adapt RUN --suite NAME`; a file of YAML does the same:

task: HalfCheetah-*        # optional: the tasks that it is for, with * for anything
source: my own             # optional
perturbations:
  front motor: motor:3=0@450..549
  ice and a blow: [friction=x0.1@300, push:torso=300N@400+10]
training: [none, motor:0=0@450..549]     # optional: sets for `--perturb-training`; else none and the perturbations
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nchl.errors import InvalidArgument, UnknownName
from nchl.perturbations import language


@dataclass(frozen=True)
class Suite:
    """Perturbations to be survived, one at a time.

    Attributes:
        name: of the suite.
        source: where it comes from.
        perturbations: label -> the text of a set of perturbations.
        training: sets that `--perturb-training` chooses from.
        task: a pattern of task ids.
    """

    name: str
    source: str
    perturbations: Mapping[str, str]
    training: tuple[str, ...] = field(default=())
    task: str = "*"

    def check_task(self, task: str) -> None:
        """Refuse a task that the suite is not for.

        Raises:
            InvalidArgument: names both.
        """
        if not fnmatch.fnmatchcase(task, self.task):
            others = ", ".join(each.name for each in SUITES.values() if fnmatch.fnmatchcase(task, each.task))
            raise InvalidArgument(f"the suite {self.name!r} is for {self.task}, not for {task}; for that there are: {others}")


_HAN = "Hebbian Attractor Networks (arXiv 2603.22512)"
_LEGS = {"front right": "ankle_2", "front left": "ankle_1", "rear right": "ankle_4", "rear left": "ankle_3"}
_MOTORS = ("back thigh", "back shin", "back foot", "front thigh", "front shin", "front foot")

SUITES = {
    each.name: each
    for each in (
        Suite(
            "ant-legs",
            f"one lower leg at a quarter of its length, from the start; trained on an intact ant and the two front legs: {_HAN}",
            {f"{leg} leg": f"limb:{joint}=x0.25" for leg, joint in _LEGS.items()},
            ("none", "limb:ankle_2=x0.25", "limb:ankle_1=x0.25"),
            "Ant-*",
        ),
        Suite(
            "cheetah-motor",
            f"one of six motors off, from a step in 450..549 on: {_HAN}",
            {f"{name} motor": f"motor:{k}=0@450..549" for k, name in enumerate(_MOTORS)},
            tuple(f"motor:{k}=0@450..549" for k in range(6)),
            "HalfCheetah-*",
        ),
        Suite(
            "cheetah-friction",
            f"friction at 0.4 to 0.95 of the usual, from a step in 300..699 on: {_HAN}",
            {"friction": "friction=x0.4..0.95@300..699"},
            ("friction=x0.4..0.95@300..699",),
            "HalfCheetah-*",
        ),
        Suite(
            "lesions",
            "weights set to 0 after Najarro and Risi (arXiv 2007.02686), who set some to 0 in mid-episode; the shares are our own",
            {
                "a tenth of the weights": "lesion:weights=0.1@100",
                "half of the weights": "lesion:weights=0.5@100",
                "all weights": "lesion:weights=1@100",
                "weights drawn anew": "shuffle:weights@100",
            },
        ),
        Suite(
            "sensors",
            "our own",
            {
                "first sensor off": "sensor:0=0@100",
                "all sensors at half": "sensor:*=0.5@100",
                "noise": "sensor-noise=0.1@100",
                "two steps late": "sensor-delay=2@100",
            },
        ),
        Suite(
            "pole-length",
            "Gymnasium's attribute `length` (half the pole, 0.5 m), as in generalisation benchmarks after Packer et al. (arXiv 1810.12282)",
            {f"pole x{factor}": f"attribute:length=x{factor}@100" for factor in ("0.25", "0.5", "2", "4")},
            ("none", "attribute:length=x0.5@100", "attribute:length=x2@100"),
            "CartPole-*",
        ),
        Suite(
            "pole-gravity",
            "Gymnasium's attribute `gravity` (9.8 m/s2); the moon has 0.17 of it, Mars 0.38, Jupiter 2.5",
            {
                "moon": "gravity=x0.17@100",
                "Mars": "gravity=x0.38@100",
                "Jupiter": "gravity=x2.5@100",
            },
            ("none", "gravity=x0.38@100"),
            "CartPole-*",
        ),
    )
}


def named(name: str) -> Suite:
    """A suite that comes with the package.

    Raises:
        UnknownName: there is none of that name; offers the nearest.
    """
    if name not in SUITES:
        raise UnknownName("suite", name, [*SUITES, "FILE.yaml"])
    return SUITES[name]


def of_mapping(name: str, data: Mapping[str, Any]) -> Suite:
    """The suite that a YAML file describes.

    Args:
        name: of the file.
        data: content of the file.

    Raises:
        InvalidArgument: another structure, or a text that names no perturbation; says where.
    """
    keys = ("task", "source", "perturbations", "training")
    for key in data:
        if key not in keys:
            raise UnknownName(f"key of the suite {name}", str(key), keys)
    told = data.get("perturbations")
    if not isinstance(told, Mapping) or not told:
        raise InvalidArgument(f"{name}: `perturbations` must name some, as in `front motor: motor:3=0@450`, got {told!r}")
    found = {str(label): _set(name, str(label), value) for label, value in told.items()}
    for label, text in found.items():
        if not language.parse_all(text):
            raise InvalidArgument(
                f"{name}: {label}: it changes nothing; the intact twin is played in any case, and `training` may have `none`"
            )
    training = data.get("training", ["none", *found.values()])
    if not isinstance(training, list) or not training:
        raise InvalidArgument(f"{name}: `training` must be a list of perturbations, got {training!r}")
    return Suite(
        name,
        str(data.get("source", "your own")),
        found,
        tuple(_set(name, f"training, number {k + 1}", value) for k, value in enumerate(training)),
        str(data.get("task", "*")),
    )


def _set(name: str, label: str, value: Any) -> str:
    texts = value if isinstance(value, list) else [value]
    try:
        return language.together(language.parse_all(texts))
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}: {label}: {error}") from error
