"""Which perturbations an episode has: the same ones always, or one of several sets, chosen by the episode's seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nchl.errors import InvalidArgument
from nchl.perturbations import language
from nchl.perturbations.draws import generator, moment_of, value_of
from nchl.perturbations.objects import START, Attribute, Perturbation, Push

NEVER = 2**31
_ENTRY = 2


# A perturbation of kind "body" with its number in one episode.
Change = tuple[Perturbation, float]


class Schedule(NamedTuple):
    """When bodies change and are pushed in one episode.

    Attributes:
        changes: steps and what changes for good at each, in the order in which they come.
        pushes: first step, the step after the last, the push, and its force in newtons.
    """

    changes: tuple[tuple[int, Change], ...]
    pushes: tuple[tuple[int, int, Push, float], ...]


@dataclass(frozen=True)
class Plan:
    """Sets of perturbations, each as likely as any other; one set: no choice.

    Attributes:
        entries: the sets; an empty one is an episode in which nothing goes wrong.
    """

    entries: tuple[tuple[Perturbation, ...], ...] = ((),)

    def __bool__(self) -> bool:
        return any(self.entries)

    @property
    def all(self) -> tuple[Perturbation, ...]:
        """Every perturbation that may come, once."""
        return tuple(dict.fromkeys(each for entry in self.entries for each in entry))

    def place_of(self, seed: int) -> int:
        """Which of the sets the episode of a seed has."""
        return 0 if len(self.entries) == 1 else int(generator(seed, "entry", _ENTRY).integers(len(self.entries)))

    def of(self, seed: int) -> tuple[Perturbation, ...]:
        """Perturbations of the episode of a seed."""
        return self.entries[self.place_of(seed)]

    def of_kind(self, *kinds: str) -> Plan:
        """The same sets, of some kinds of perturbations alone."""
        return Plan(tuple(tuple(each for each in entry if each.kind in kinds) for entry in self.entries))

    def moments(self, each: Perturbation, seeds: Sequence[int]) -> list[int]:
        """The step at which a perturbation comes in each of some episodes; `NEVER` where it does not."""
        return [moment_of(each, seed) if each in self.of(seed) else NEVER for seed in seeds]

    def schedule(self, seed: int) -> Schedule:
        """Changes of bodies and grounds, and pushes, in the episode of a seed."""
        drawn = [(moment_of(each, seed), (each, value_of(each, seed))) for each in self.of(seed) if each.kind == "body"]
        changes = sorted((entry for entry in drawn if not isinstance(entry[1][0], Push)), key=lambda entry: entry[0])
        pushes = [(step, step + each.steps, each, newtons) for step, (each, newtons) in drawn if isinstance(each, Push)]
        return Schedule(tuple(changes), tuple(pushes))

    @property
    def fixed(self) -> bool:
        """Whether bodies are changed from the start on, by numbers that all episodes share: then it can be written to a file."""
        bodies = [each for each in self.all if each.kind == "body"]
        return not any(isinstance(each, Push | Attribute) or each.moment != START or each.number.low != each.number.high for each in bodies)

    @property
    def texts(self) -> list[str]:
        """The sets as texts; `plan_of_texts` is the inverse."""
        return [language.together(entry) for entry in self.entries]


def plan_of_texts(texts: Iterable[str]) -> Plan:
    """A plan of the texts of its sets."""
    return Plan(tuple(language.parse_all(text) for text in texts) or ((),))


def plan(perturb: Iterable[str | Perturbation] | str | None = None, training: Iterable[str] | None = None) -> Plan:
    """Makes a plan.

    Args:
        perturb: perturbations of every episode.
        training: sets of further ones, one of which each episode has.

    Raises:
        InvalidArgument: a text that names none, or something that is changed twice.
    """
    always = language.parse_all(perturb)
    if isinstance(training, str):
        raise InvalidArgument(f"perturb_training: expected a list of texts, got {training!r}")
    sets = [language.parse_all(text) for text in training or ()] or [()]
    return Plan(tuple(language.parse_all([*always, *entry]) for entry in sets))
