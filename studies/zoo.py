"""Put individuals into the zoo that ships with nchl: `python studies/zoo.py add|film|page ...`.

    add NAME RUN [RUN ...]   copy the best individual of a finished run into the package, evaluate it, and write index, film and page;
                             of several runs, the one with the highest mean on unseen episodes of another seed than the card's
    film NAME [NAME ...]     make the films of docs/zoo.md anew
    page                     write index and docs/zoo.md anew from the files of the individuals; --check: only compare

A run is a folder of `nchl evolve`, or a finished cell of a study (`studies/*/cells/SWEEP/CELL`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nchl
from nchl import zoo
from nchl.errors import DrawingError, NchlError
from nchl.report.compare.evaluations import EPISODES, SEED
from nchl.report.compare.runs import EVALUATION, digest
from nchl.report.compare.statistics import estimate
from nchl.report.formatting import figure
from nchl.runs.files.writing import write_json
from nchl.runs.settings.command_line import evolve_command
from nchl.runs.settings.search_options import INITIAL_GENOMES
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.record import Record
from nchl.runs.store.trust import chosen
from nchl.zoo import index as package

DOCS = Path(__file__).resolve().parents[1] / "docs"
CHOOSING_SEED = 20_000  # a score on the starts that an individual was chosen by would be too high
LARGEST_ZOO, LARGEST_FILM = 3_000_000, 300_000  # bytes
COPIED = ("best.safetensors", "metrics.csv", "summary.json")
RULES = {"nchl": "NcHL", "hl": "HL", "wnchl": "WNcHL", "static": "static", "gru": "static", "conv-thesis": "NcHL", "conv-hml": "HL"}
# Most frames per second, pixels across, seconds and colours of a film; the first whose file is small enough is kept.
FILMS: tuple[tuple[float, int, float, int | None], ...] = (
    (12.5, 300, 6.0, None),
    (10.0, 240, 5.0, 64),
    (10.0, 240, 4.0, 32),
    (10.0, 200, 4.0, 32),
    (8.0, 200, 3.0, 16),
    (8.0, 160, 3.0, 16),
)
_CARDS = re.compile(r"<!-- cards -->\n.*?<!-- /cards -->", re.S)


class ZooError(Exception):
    """An individual that cannot be put into the zoo; the message says why."""


# --- adding ----------------------------------------------------------------------------------------------------------------------------


def add(name: str, runs: Sequence[Path], episodes: int = EPISODES, *, replace: bool = False) -> zoo.Card:
    """Copy the best individual of the best run, evaluate it, and write the index; an error leaves the zoo as it was.

    Args:
        name: of the individual.
        runs: finished runs.
        episodes: of each evaluation.
        replace: whether it takes the place of an individual of that name.

    Raises:
        ZooError: a run that has not finished, or that one command does not repeat; an individual of that name; too many bytes.
        NchlError: no run folder, or its task cannot be played here.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ZooError(f"expected a name of small letters, digits and single dashes, as halfcheetah-nchl; got {name!r}")
    place = package.ROOT / "individuals" / name
    if place.exists() and not replace:
        raise ZooError(f"{place} exists already; --replace puts another individual in its place")
    for run in runs:
        check(run)
    run = runs[0] if len(runs) == 1 else best_of(runs, episodes)
    with tempfile.TemporaryDirectory(dir=package.ROOT, prefix=".new-") as beside:
        made, former = Path(beside) / name, Path(beside) / "former"
        made.mkdir()
        for file in COPIED:
            shutil.copyfile(run / file, made / file)
        write_json(made / "config.json", portable(RunFolder.open(run)))
        result = nchl.evaluate(made, episodes=episodes, seed=SEED, controls=None)
        write_json(made / EVALUATION, {"best_sha256": digest(made / "best.safetensors"), **result})
        others = (path for path in place.parent.rglob("*") if not path.is_relative_to(place))
        size = sum(path.stat().st_size for path in (*others, *made.iterdir()) if path.is_file())
        if size > LARGEST_ZOO:
            raise ZooError(f"the individuals would have {size:,} bytes together; {LARGEST_ZOO:,} is the most")
        if place.exists():
            place.rename(former)
        try:
            made.rename(place)
            write_index()
        except BaseException:
            if place.exists():
                shutil.rmtree(place)
            if former.exists():
                former.rename(place)
            raise
    return zoo.card(name)


def best_of(runs: Sequence[Path], episodes: int) -> Path:
    """The run whose best individual has the highest mean return, on episodes that the card's score does not use."""
    means = {}
    for run in runs:
        means[run] = nchl.evaluate(run, episodes=episodes, seed=CHOOSING_SEED)["mean"] or -np.inf
        print(f"{means[run]:12.2f}  {run}", flush=True)
    return max(means, key=lambda run: means[run])


def check(run: Path) -> None:
    """Refuse a run that has not finished, or that its command and the commit of nchl do not repeat.

    Raises:
        ZooError: says what is missing.
    """
    folder = RunFolder.open(run)
    for file in COPIED:
        if not (folder.path / file).is_file():
            raise ZooError(f"{run} has no {file}; the zoo takes finished runs: go on with `nchl resume {run}`")
    record = folder.read_record()
    settings = record.settings.replace(workers=None, cluster=None)
    summary = json.loads(folder.summary.read_text())
    if summary["reason"] is None:
        raise ZooError(f"{run} was interrupted; the zoo takes finished runs: go on with `nchl resume {run}`")
    for limit, total, done in (
        ("generations", settings.generations, summary["generations"]),
        ("max_steps", settings.max_steps, summary["env_steps"]),
    ):
        if summary["reason"] == limit and done < (total or 0):
            raise ZooError(f"{run} ended after {done:,} of {total:,} {limit}: its summary is older than its settings; go on with the run")
    named = [place for place in chosen(settings) if place and ":" in place and not place.startswith("evosax:")]
    if record.code is not None or record.objects is not None or named:
        raise ZooError(f"{run} runs code that is not part of nchl ({', '.join(named) or 'an object'}), which cannot ship with it")
    start = str(settings.initial_genome)
    if start not in INITIAL_GENOMES and zoo.name_of(start) is None:
        raise ZooError(f"{run} began with the genome of {start}; the zoo takes runs that one command repeats")
    wrong = {f"{each.get('commit')}{' (changed)' if each.get('dirty') else ''}" for each in record.sessions or [{}]}
    if wrong != {record.versions.get("nchl_commit")}:
        raise ZooError(f"{run} was not made with one commit of nchl, but with {', '.join(sorted(wrong))}")


def portable(folder: RunFolder) -> dict[str, Any]:
    """The content of `config.json` without the paths and the parallelism of the machine where the run was made."""
    data: dict[str, Any] = json.loads(folder.config.read_text())
    data["settings"] |= {"workers": None, "cluster": None, "wandb": False, "mlflow": False}
    settings = folder.read_record().settings.replace(workers=None, cluster=None, wandb=None, mlflow=None)
    return {**data, "command": shlex.split(evolve_command(settings)), "files": {}}


# --- the index -------------------------------------------------------------------------------------------------------------------------


def write_index() -> None:
    """Write the index of the package anew from the files of its individuals."""
    (package.ROOT / "index.json").write_text(index(), encoding="utf-8")


def index() -> str:
    """The index that the files of the individuals say."""
    folders = sorted(path.parent for path in (package.ROOT / "individuals").glob("*/config.json"))
    found = {folder.name: entry(RunFolder.open(folder)) for folder in folders}
    in_order = sorted(found.items(), key=lambda item: (item[1]["task"] != "CartPole-v1", item[1]["task"], item[0]))
    return json.dumps(dict(in_order), indent=2, allow_nan=False) + "\n"


def entry(folder: RunFolder) -> dict[str, Any]:
    """What the card of one individual says, from its files alone."""
    record = folder.read_record()
    evaluation, summary = (json.loads((folder.path / file).read_text()) for file in (EVALUATION, "summary.json"))
    mean, low, high = estimate(np.array(evaluation["returns"]), np.mean, 0)
    controls = {name: None if name not in evaluation else evaluation[name]["mean"] for name in ("plasticity_off", "frozen_half_way")}
    agent, _ = nchl.load(folder.path)
    return {
        "task": record.settings.task,
        "simulator": record.same_bits["simulator"],
        "rule": rule(record),
        "network": network(record, agent),
        "nparams": agent.nparams,
        "perturbations": [*(record.settings.perturb or ()), *(record.settings.perturb_training or ())],
        "score": {"mean": mean, "low": low, "high": high, "episodes": evaluation["episodes"], "seed": evaluation["seed"], **controls},
        "command": evolve_command(record.settings),
        "generations": summary["generations"],
        "env_steps": summary["env_steps"],
        "version": record.versions["nchl"],
        "commit": record.versions["nchl_commit"],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.path.iterdir())},
    }


def rule(record: Record) -> str:
    """The name of the rule, with the window of WNcHL."""
    name = RULES[str(record.settings.network)]
    return f"{name}, window {record.settings.window}" if record.settings.window is not None else name


def network(record: Record, agent: Any) -> str:
    """The neurons of each layer, or the name of a network that is not made of dense layers."""
    settings = record.settings
    if settings.hidden is None:
        return str(settings.network)
    sizes = "-".join(map(str, (*agent.input_shape, *settings.hidden, agent.output_size)))
    return "gru " + sizes if settings.network == "gru" else f"{sizes}, recurrent" if settings.recurrent else sizes


# --- the page --------------------------------------------------------------------------------------------------------------------------


def film(name: str) -> Path | None:
    """Make the film of a card; None, with a line on stderr, where its task cannot be drawn here."""
    from nchl.report.film import film as make
    from nchl.report.film import video

    gif = DOCS / "images" / "zoo" / f"{name}.gif"
    gif.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            longest = max(seconds for _, _, seconds, _ in FILMS)
            make(zoo.PREFIX + name, Path(folder) / "film.mp4", width=320, fps=25, seconds=longest)
        except DrawingError as error:
            print(f"{name} has no film: {error}", file=sys.stderr)
            return None
        for rate, width, seconds, colours in FILMS:
            video.to_gif(Path(folder) / "film.mp4", gif, rate=rate, width=width, seconds=seconds, colours=colours)
            if gif.stat().st_size <= LARGEST_FILM:
                return gif
    raise ZooError(f"{gif} has {gif.stat().st_size:,} bytes at its smallest; {LARGEST_FILM:,} is the most")


def written(text: str) -> str:
    """The page with its cards made anew."""
    if len(_CARDS.findall(text)) != 1:
        raise ZooError("docs/zoo.md must have one place `<!-- cards -->` ... `<!-- /cards -->`")
    cards = [table(list(zoo.cards().values())), *map(section, zoo.cards().values())]
    return _CARDS.sub(lambda _: "<!-- cards -->\n" + "\n\n".join(cards) + "\n<!-- /cards -->", text)


def table(cards: Sequence[zoo.Card]) -> str:
    """All individuals, a row each."""
    rows = [
        f"| [`{card.name}`](#{card.name}) | {card.task} | {card.rule} | {card.network} | {card.nparams:,} | {score(card)} |"
        for card in cards
    ]
    return "\n".join(["| name | task | rule | network | parameters | score |", "| --- | --- | --- | --- | ---: | ---: |", *rows])


def score(card: zoo.Card) -> str:
    """The mean return with its interval."""
    return f"{figure(card.score.mean)} [{figure(card.score.low)}, {figure(card.score.high)}]"


def section(card: zoo.Card) -> str:
    """One card: film, figures, command."""
    lines = [f"### {card.name}", ""]
    if (DOCS / "images" / "zoo" / f"{card.name}.gif").exists():
        lines += [f"![{card.task}, the first seconds of an unseen episode](images/zoo/{card.name}.gif)", ""]
    rows = [
        ("task", f"{card.task} on {card.simulator}"),
        ("network", f"{card.rule}; {card.network}; {card.nparams:,} parameters"),
        ("score", f"{score(card)}: mean return of {card.score.episodes} unseen episodes (seed {card.score.seed}), 95 % interval"),
    ]
    if card.score.plasticity_off is not None:
        rows.append(("plasticity off", f"{figure(card.score.plasticity_off)}; frozen half-way {figure(card.score.frozen_half_way)}"))
    if card.perturbations:
        rows.append(("perturbations", ", ".join(f"`{text}`" for text in card.perturbations).replace("|", "\\|")))
    rows.append(
        ("evolved", f"{card.generations:,} generations, {card.env_steps:,} environment steps; nchl {card.version}, `{card.commit[:10]}`")
    )
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, "", "```text", card.command, "```"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    adding = verbs.add_parser("add", help="put the best individual of finished runs into the package")
    adding.add_argument("name")
    adding.add_argument("runs", nargs="+", type=Path)
    adding.add_argument("--episodes", type=int, default=EPISODES, help="unseen episodes of the evaluation (default: %(default)s)")
    adding.add_argument("--replace", action="store_true", help="take the place of the individual of that name")
    verbs.add_parser("film", help="make films anew").add_argument("names", nargs="+")
    verbs.add_parser("page", help="write index and page anew").add_argument("--check", action="store_true", help="only compare")
    args = parser.parse_args(argv)
    page = DOCS / "zoo.md"
    try:
        if args.verb == "add":
            card = add(args.name, args.runs, args.episodes, replace=args.replace)
            print(f"{card.name}: {card.nparams:,} parameters, {score(card)}")
            film(args.name)
        elif args.verb == "film":
            for name in args.names:
                film(name)
        elif args.check:
            same = index() == (package.ROOT / "index.json").read_text() and written(page.read_text()) == page.read_text()
            print("up to date" if same else "not up to date; write anew with: python studies/zoo.py page")
            return 0 if same else 1
        write_index()
        page.write_text(written(page.read_text()))
    except (ZooError, NchlError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
