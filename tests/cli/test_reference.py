"""The command line's page in the documentation says what `--help` says, and all names that are promised are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from nchl.cli import main, reference
from nchl.runs.settings.config import options

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"

# Promised names: scripts of others use them.
PROMISED = {
    "evolve": """--network --rule --hidden --window --initial-weights --normalise --sharing --termwise --image-size --strategy --population
        --generations --sigma --sigma-decay --lr --lr-decay --no-antithetic --initial-genome --episodes --normalise-observations
        --validation-episodes --seed --target --max-steps --max-minutes --preset --simulator --device --out""",
    "resume": "--generations",
    "evaluate": "--episodes --seed --which --controls --simulator --json",
    "doctor": "--json",
}


def test_the_page_is_what_the_parsers_say() -> None:
    assert PAGE.read_text() == reference.page(), "write docs/cli.md anew: python -m nchl.cli.reference > docs/cli.md"


@pytest.mark.parametrize("verb", PROMISED)
def test_promised_options_are_in_the_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out.replace(",", " ").split()
    assert not [option for option in PROMISED[verb].split() if option not in shown]


def test_options_of_two_values_and_exit_codes() -> None:
    page = reference.page()
    assert "`--image-size H W`" in page
    assert all(f"| {code} |" in page for code in (0, 1, 2, 129, 130, 143))


def test_every_field_of_the_configuration_is_an_option_with_help() -> None:
    page = reference.page()
    for option in options():
        assert option.help
        assert f"`{option.flag}" in page or option.name == "task"
