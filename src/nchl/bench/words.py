"""The words of `nchl bench search`: options as `NAME=VALUE`, and strategies as `openai-es,lr=0.05`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nchl import zoo
from nchl.errors import InvalidArgument, UnknownName
from nchl.runs.settings.config import options
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.runs.settings.task_options import read_settings
from nchl.strategies.registry import settings_of as strategy_settings
from nchl.user_code import is_place

_SCHEDULES = ("sigma_schedule", "lr_schedule")
# Options that all runs share, or that would end a run before its budget -> what to write instead.
_NOT_HERE = {
    "task": "use --tasks",
    "strategy": "use --strategies",
    "seed": "use --seeds",
    "max_steps": "use --budget",
    "generations": "the budget alone ends a run; use --budget",
    "max_minutes": "the budget alone ends a run; use --budget",
    "target": "the budget alone ends a run; --targets shows the steps to given returns",
}


def strategy_of(word: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of `openai-es,lr=0.05`; the path of a file is made absolute.

    Raises:
        InvalidArgument: a setting that is not `NAME=VALUE`, or that is given twice.
        UnknownName: no such option.
    """
    name, *settings = word.split(",")
    return str(Path(name).absolute()) if ".py:" in name else name, settings_of(settings, of=name)


def word_of(given: Mapping[str, Any], words: Sequence[str]) -> str:
    """The word that a run was made from: of those that fit, the one with the most settings."""
    found = {word: strategy_of(word) for word in words}
    fits = [word for word, (name, s) in found.items() if name == given["strategy"] and all(given.get(key) == s[key] for key in s)]
    return max(fits, key=lambda word: len(found[word][1]))


def settings_of(words: Iterable[str], of: str = "") -> dict[str, Any]:
    """Options from words such as `hidden=128x64`; `observe`, `wrap`, `perturb`, `perturb_training` and `env` may be given several times.

    Args:
        words: each `NAME=VALUE`.
        of: the strategy that they belong to, whose settings an error lists; empty: none.

    Raises:
        InvalidArgument: another word, a value of another kind, or an option that is given twice.
        UnknownName: no such option.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, kind, value = _pair(word, of)
        if name in found and kind in _REPEATABLE:
            value = (*found[name], *value)
        elif name in found:
            raise InvalidArgument(f"{name} is given twice, the second time as {word!r}; keep one")
        found[name] = value
    return {name: read_settings(list(value)) if name == "env" else value for name, value in found.items()}


def refuse_not_here(settings: Mapping[str, Any], where: str) -> None:
    """Refuse options that all runs share, and those that end a run before its budget.

    Args:
        settings: options.
        where: where they were given, for the message.

    Raises:
        InvalidArgument: names the option and what to write.
    """
    for name, instead in _NOT_HERE.items():
        if name in settings:
            raise InvalidArgument(f"{name} does not apply in {where}: {instead}")


def refuse_open_cosine(settings: Mapping[str, Any]) -> None:
    """Refuse a cosine without its length: the budget decides the number of generations.

    Raises:
        InvalidArgument: names the option and what to write.
    """
    for name in _SCHEDULES:
        if settings.get(name) == "cosine":
            raise InvalidArgument(f"{name}=cosine needs its generations here, where the budget ends a run; write {name}=cosine:100")


def _pair(word: str, of: str) -> tuple[str, str, Any]:
    """`hidden=128x64` as the option's name, its kind and a value of this kind."""
    known = {option.name: option for option in options()}
    key, equals, value = word.partition("=")
    name = key.replace("-", "_")
    if not equals:
        raise InvalidArgument(f"expected NAME=VALUE, as in lr=0.05, got {word!r}")
    if name not in known:
        its = ", ".join(setting.name for setting in strategy_settings(of))
        raise UnknownName("option", key, known, otherwise=its and f"the settings of {of} are {its}")
    kind = known[name].kind
    wanted, read = _KINDS[kind]
    try:
        return name, kind, _from_here(name, read(value))
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"{key}: expected {wanted}, got {value!r}") from error


def _from_here(name: str, value: Any) -> Any:
    """The value with absolute paths: those of a sweep's file are relative to that file."""
    if isinstance(value, tuple):
        return tuple(_from_here(name, each) for each in value)
    is_run = name == "initial_genome" and value not in INITIAL_GENOMES and zoo.name_of(value) is None
    return str(Path(value).absolute()) if is_place(value) or is_run else value


def _one(value: str) -> tuple[str, ...]:
    if not value:
        raise ValueError
    return (value,)


def _setting(value: str) -> tuple[str, ...]:
    if not value.partition("=")[1]:
        raise ValueError
    return (value,)


_REPEATABLE = ("texts", "places", "specs", "settings")
# Kind of an option -> its value in words, and the function that reads it, which raises a KeyError or ValueError.
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "bool": ("on or off", lambda value: {"true": True, "on": True, "false": False, "off": False}[value.lower()]),
    "ints": ("whole numbers with x between them", lambda value: tuple(int(part) for part in value.split("x") if part)),
    "int": ("a whole number", int),
    "float": ("a number", float),
    "str": ("a text", str),
    "texts": ("a text", _one),
    "places": ("MODULE:NAME or FILE.py:NAME", _one),
    "specs": ("a perturbation, as in perturb=motor:3=0@500", _one),
    "settings": ("a setting of the environment, as in env=frame_skip=2", _setting),
}
