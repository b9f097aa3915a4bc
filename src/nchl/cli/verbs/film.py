"""Film a run's result in an unseen episode; no display is needed.

The film is an mp4 that browsers play, in real time of the simulation. It shows an episode of `nchl evaluate` with the same
seed. With `--controls` three copies start the same episode side by side: as evolved, with the rule switched off, and with the
weights frozen half-way; with `--perturb`, frozen when the perturbation begins, which is marked in the frames.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, add_perturb_option, add_result_options, at_least
from nchl.cli.progress import Rarely, say
from nchl.report.formatting import figure


def add_arguments(parser: Parser) -> None:
    """The run folder, the episodes, and the picture."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder, or zoo:NAME")
    add_result_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.mp4",
        help="the film (default: film.mp4 in the run folder, which `nchl report` embeds; with options that show something else, a name "
        "with these, as film-centre-controls.mp4; of zoo:NAME: ./NAME-film.mp4)",
    )
    add_perturb_option(parser)
    parser.add_argument("--gif", action="store_true", help="also write a GIF beside it")
    parser.add_argument("--controls", action="store_true", help="plasticity on, off and frozen half-way, side by side")
    parser.add_argument("--episodes", type=at_least(1), default=1, metavar="N", help="episodes, one after the other (default: 1)")
    parser.add_argument(
        "--width", type=at_least(64, most=4096), default=480, metavar="PIXELS", help="width of one frame, up to 4096 (default: 480)"
    )
    parser.add_argument(
        "--fps",
        type=at_least(0.1, float, most=60),
        metavar="N",
        help="most frames per second of simulated time, up to 60 (default: one per step, at most 60)",
    )
    parser.add_argument("--seconds", type=at_least(0.1, float), metavar="S", help="length of each episode to show (default: all)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the run folder, import the heavy modules, film."""
    from nchl.runs.store.folder import RunFolder

    RunFolder.open(args.run).read_record()
    from nchl.report.film import film

    rarely = Rarely()

    def show(step: int, most: int) -> None:
        if rarely.due():
            say(f"filming: step {step} of at most {most}")

    return film(
        args.run,
        args.out,
        gif=args.gif,
        seed=args.seed,
        episodes=args.episodes,
        which=args.which,
        controls=args.controls,
        simulator=args.simulator,
        width=args.width,
        fps=args.fps,
        seconds=args.seconds,
        rule=args.rule,
        perturb=args.perturb,
        on_progress=show,
    )


def text(result: dict[str, Any]) -> str:
    """The path of the film, and its contents."""
    subject = "best individual" if result["which"] == "best" else "centre of the search"
    length = result["frames"] / result["frames_per_second"]
    lines = [
        f"{result['film']}: {result['frames']} frames of {result['width']} x {result['height']}, {length:.1f} s"
        + (f", and {result['gif']}" if result["gif"] else ""),
        f"{result['task']} on {result['simulator']}, drawn by {result['drawn_by']}: the {subject}, seed {result['seed']}",
    ]
    rows = {"return": result}
    if "plasticity_off" in result:
        rows = {"as evolved": result, "plasticity off": result["plasticity_off"], **_frozen(result)}
    for name, about in rows.items():
        each = [
            f"{'not finite' if value is None else figure(value)} in {steps} steps"
            for value, steps in zip(about["returns"], about["lengths"], strict=True)
        ]
        lines.append(f"{name}: {', '.join(each)}")
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])])


def _frozen(result: dict[str, Any]) -> dict[str, Any]:
    """The third panel: frozen half-way, or when the perturbation began."""
    if "frozen" in result:
        return {"frozen when perturbed": result["frozen"]}
    return {"frozen half-way": result["frozen_half_way"]}
