"""List the evolved individuals that ship with nchl, or show the card of one, with the command that evolved it.

`zoo:NAME` stands wherever the folder of a run is read: `nchl film zoo:NAME`, `nchl evolve TASK --initial-genome zoo:NAME`.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from nchl import zoo
from nchl.cli.parser import Parser
from nchl.report.formatting import figure


def add_arguments(parser: Parser) -> None:
    """One name, or all."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this one")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The cards by their names."""
    found = zoo.cards() if args.name is None else {card.name: card for card in [zoo.card(args.name.removeprefix(zoo.PREFIX))]}
    return {name: asdict(card) for name, card in found.items()}


def text(result: dict[str, Any]) -> str:
    """A table, or the card of the only one."""
    if len(result) == 1:
        return _card(next(iter(result.values())))
    columns = ("name", "task", "rule", "network", "parameters", "score")
    rows = [
        (card["name"], card["task"], card["rule"], card["network"], f"{card['nparams']:,}", _score(card["score"]))
        for card in result.values()
    ]
    widths = [max(len(row[column]) for row in [columns, *rows]) for column in range(len(columns))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [columns, *rows]]
    told = "score: mean return of the best individual of one run on unseen episodes, and its 95 % interval over these episodes"
    return "\n".join([*table, "", told, "`nchl zoo NAME` shows a card; `nchl film zoo:NAME` films it"])


def _card(card: dict[str, Any]) -> str:
    score = card["score"]
    rows = {
        "task": f"{card['task']} on {card['simulator']}",
        "rule": card["rule"],
        "network": f"{card['network']}, {card['nparams']:,} parameters",
        "score": f"{_score(score)}, mean return of {score['episodes']} unseen episodes, seed {score['seed']}, and its 95 % interval",
    }
    if score["plasticity_off"] is not None:
        rows["plasticity off"] = f"{figure(score['plasticity_off'])}; frozen half-way {figure(score['frozen_half_way'])}"
    if card["perturbations"]:
        rows["perturbations"] = ", ".join(card["perturbations"])
    rows["evolved"] = f"{card['generations']:,} generations, {card['env_steps']:,} environment steps"
    rows["nchl"] = f"{card['version']}, commit {card['commit']}"
    width = max(map(len, rows))
    lines = [f"{zoo.PREFIX}{card['name']}", "", *(f"{name.ljust(width)}  {value}" for name, value in rows.items())]
    return "\n".join([*lines, "", "the command that evolved it:", f"  {card['command']}"])


def _score(score: dict[str, Any]) -> str:
    return f"{figure(score['mean'])} [{figure(score['low'])}, {figure(score['high'])}]"
