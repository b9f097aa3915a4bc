"""The argument parser of the verbs. A mistake is an `NchlError` with a suggestion, not a screen of usage.

The options of a config dataclass are made from its fields, so that the command line, its help and the record of a run agree. Their
defaults are suppressed: the namespace holds the given options alone, so that an option that does not apply can be refused if it was given.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from nchl.errors import InvalidArgument, UnknownName
from nchl.report.formatting import setting
from nchl.simulators import CHOICES

if TYPE_CHECKING:
    from nchl.runs.settings.options import Option


# argparse's own pattern has no exponents, so that it takes -1e-3 for an option. What is not finite passes, for the error of its option.
_NEGATIVE_NUMBER = re.compile(r"-(\.?\d|inf$|nan$)")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions, and leaves room for long options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36, width=min(shutil.get_terminal_size().columns, 120) - 2)

    def _get_help_string(self, action: argparse.Action) -> str:
        """The text as it is: in the help of an option a percent sign is one, and no placeholder."""
        return (action.help or "").replace("%", "%%")


class Parser(argparse.ArgumentParser):
    """Parser of one verb's words."""

    def __init__(self, program: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self._negative_number_matcher = _NEGATIVE_NUMBER

    def error(self, message: str) -> NoReturn:
        """Raise argparse's messages as an error, which the command line prints in one line."""
        raise InvalidArgument(f"{message} (see: {self.prog} --help)")

    def format_help(self) -> str:
        """The help; its usage line names the arguments but not each option."""
        words = [action.metavar or action.dest for action in self._actions if not action.option_strings]
        self.usage = " ".join([self.prog.replace("%", "%%"), *(str(word).replace("%", "%%") for word in words), "[options]"])
        return super().format_help()

    def add_json(self) -> None:
        """Add `--json`, unless the verb has defined it."""
        if "--json" not in self._option_string_actions:
            self.add_argument("--json", action="store_true", help="print one JSON object instead of text")

    def options(self) -> list[str]:
        """All long options."""
        return [option for option in self._option_string_actions if option.startswith("--")]

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse; the error for an unknown option suggests the nearest one."""
        args, rest = self.parse_known_args(list(words))
        for word in rest:
            if word.startswith("--"):
                from nchl.runs.settings.options import FORMER

                if (former := word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")) in FORMER:
                    raise InvalidArgument(FORMER[former])
                raise UnknownName(f"option of {self.prog!r}", word.partition("=")[0], self.options(), see=f"{self.prog} --help")
        if rest:
            self.error(f"unexpected {' '.join(map(repr, rest))}")
        return args


def one_of(kind: str, choices: Iterable[str]) -> Callable[[str], str]:
    """A converter that accepts the given words only; its error suggests the nearest."""
    known = list(choices)

    def convert(word: str) -> str:
        if word not in known:
            raise argparse.ArgumentTypeError(str(UnknownName(kind, word, known)))
        return word

    return convert


def whole_number(word: str) -> int:
    """An integer, with a clear message for others."""
    try:
        return int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {word!r}") from None


def one_of_several(word: str) -> int:
    """An integer of a list; a list takes every word up to the next option."""
    try:
        return int(word)
    except ValueError:
        apart = word.replace(",", " ").split()
        hint = f"write {' '.join(apart)}" if apart and all(map(str.isdecimal, apart)) else "a task or folder goes before this option"
        raise argparse.ArgumentTypeError(f"expected whole numbers, got {word!r}; {hint}") from None


def number(word: str) -> float:
    """A floating-point number."""
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {word!r}") from None


def at_least(least: float, kind: type[int] | type[float] = int, *, most: float = math.inf) -> Callable[[str], Any]:
    """A converter for finite numbers in a range."""

    def convert(word: str) -> int | float:
        value = whole_number(word) if kind is int else number(word)
        if not (least <= value <= most and value < math.inf):
            wanted = f"from {least} to {most}" if most < math.inf else f"of at least {least}"
            raise argparse.ArgumentTypeError(f"expected a {'whole ' if kind is int else ''}number {wanted}, got {word!r}")
        return value

    return convert


def _place(word: str) -> str:
    """MODULE:NAME or FILE.py:NAME."""
    name = word.rpartition(":")
    if not (name[0] and name[2]):
        raise argparse.ArgumentTypeError(f"expected MODULE:NAME or FILE.py:NAME, got {word!r}")
    return word


_SHORT_LIST = 4  # longer lists of choices are part of the help's sentence instead
_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "int": whole_number,
    "ints": one_of_several,
    "float": number,
    "str": str,
    "texts": str,
    "specs": str,
    "settings": str,
    "places": _place,
}


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Add --seed, --which, --simulator and --rule."""
    parser.add_argument("--seed", type=at_least(0), default=10000, metavar="SEED", help="seed of the starts (default: 10000)")
    add_which_option(parser)
    parser.add_argument(
        "--simulator",
        action=Once,
        type=one_of("simulator", CHOICES),
        metavar="|".join(CHOICES),
        help="simulator (default: the run's own)",
    )
    add_rule_option(parser)


def add_which_option(parser: argparse._ActionsContainer) -> None:
    """Add --which."""
    parser.add_argument(
        "--which",
        type=one_of("result of a run", ("best", "centre")),
        default="best",
        metavar="best|centre",
        help="the best individual, or the centre of the search (default: best)",
    )


def add_perturb_option(parser: argparse._ActionsContainer, of: str = "each episode") -> None:
    """Add --perturb."""
    parser.add_argument(
        "--perturb",
        action="append",
        metavar="SPEC",
        help=f"a perturbation of {of}, for example motor:3=0@500; may be given several times; none: no perturbation (default: as in "
        "training)",
    )


def add_rule_option(parser: argparse.ArgumentParser) -> None:
    """Add --rule."""
    parser.add_argument(
        "--rule",
        metavar="NAME",
        help="use another rule than the run's own: nchl, hl, or your own as FILE.py:NAME (which runs that file); nothing is then stored "
        "with the run",
    )


def add_figure_width_option(parser: argparse._ActionsContainer) -> None:
    """Add --figure-width, which goes with --figure."""
    parser.add_argument(
        "--figure-width",
        type=at_least(2.0, float, most=20),
        metavar="INCHES",
        help="width of the figure in a paper, for example 5.5 or 3.3; text is then 8 points high (default: a large figure for screens)",
    )


def check_figure_width(args: argparse.Namespace) -> None:
    """Refuse --figure-width without --figure."""
    if args.figure_width is not None and args.figure is None:
        raise InvalidArgument("--figure-width only applies to --figure; add it, or leave --figure-width out")


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add the options of a config dataclass under their headings, with suppressed defaults."""
    groups: dict[str, Any] = {}
    for option in options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add_option(groups[option.group], option)


def given(args: argparse.Namespace, options: Iterable[Option]) -> dict[str, Any]:
    """The options that the user gave, by field name."""
    names = {option.name for option in options}
    return {name: value for name, value in vars(args).items() if name in names and value is not None}


def _add_option(group: Any, option: Option) -> None:
    text = option_help(option)
    if option.kind == "bool":
        # Both forms exist: either may be needed to override a preset.
        group.add_argument(option.flag, dest=option.name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        return
    more: dict[str, Any] = {"nargs": "*" if option.kind == "ints" else "+" if option.kind in ("texts", "settings") else None}
    if option.kind == "settings":
        more["action"] = _Settings
    elif option.kind in ("places", "specs"):
        more["action"] = "append"
    elif option.name == "simulator":
        more["action"] = Once
    group.add_argument(
        option.flag,
        dest=option.name,
        type=one_of(option.name.replace("_", " "), option.choices) if option.choices else _CONVERTERS[option.kind],
        metavar="|".join(option.choices) if option.choices and len(option.choices) <= _SHORT_LIST else option.metavar or "NAME",
        default=argparse.SUPPRESS,
        help=text,
        **more,
    )


class Once(argparse.Action):
    """An option with one value; two different values are an error."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        """Store the value."""
        given: set[Any] = vars(namespace).setdefault("_given_once", set())
        before = getattr(namespace, self.dest, None)
        if self.dest in given and before != values:
            raise InvalidArgument(f"{option_string} was given twice, as {before} and as {values}; choose one")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _Settings(argparse.Action):
    """Words KEY=VALUE, from one option or several, as one mapping."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        """Add the words to earlier ones."""
        from nchl.runs.settings.task_options import read_settings

        words = [*vars(namespace).get("_words_of_settings", []), *values]
        vars(namespace)["_words_of_settings"] = words
        setattr(namespace, self.dest, read_settings(words))


def option_help(option: Option) -> str:
    """The help of an option: its sentence, its default and, if it does not apply to all, its networks or strategies."""
    text = option.help
    if option.default not in (None, ()) and "(default" not in text:
        text += f" (default: {setting(option.default)})"
    if option.choices and len(option.choices) > _SHORT_LIST:
        text += f"; one of {', '.join(option.choices)}"
    only = option.networks or option.strategies
    if only:
        text += f" [only for {', '.join(name for name in only if not name.endswith(':'))}]"
    return text
