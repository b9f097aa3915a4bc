"""Train a convolutional classifier by SoftHebb, with a linear head.

The convolutional layers learn without labels and without feedback, then the features of all images are computed once, then a linear head
learns from them. A run that was stopped or killed continues with `nchl softhebb --resume RUN`, and ends with the same bits.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from nchl.cli.parser import Parser, add_options, given
from nchl.cli.progress.softhebb import progress
from nchl.errors import InvalidArgument
from nchl.vision.settings import SoftHebbSettings, options, said

EPILOG = "first try: nchl softhebb cifar10 --network softhebb-small --limit 5000 --epochs-head 10"


def add_arguments(parser: Parser) -> None:
    """DATA, and an option for every other setting."""
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a folder of parquet files or of one folder per class, or a Hugging Face name (cifar10, cifar100, ...)",
    )
    add_options(parser, [option for option in options() if option.name not in ("data", "method", "schedule")])
    method = parser.add_mutually_exclusive_group()
    method.add_argument(
        "--backprop", dest="method", action="store_const", const="backprop", help="train the same network end to end instead"
    )
    method.add_argument("--random", dest="method", action="store_const", const="random", help="leave the layers untrained, as a baseline")
    schedule = parser.add_mutually_exclusive_group()
    schedule.add_argument("--layerwise", dest="schedule", action="store_const", const="layerwise", help="train one layer after the other")
    schedule.add_argument(
        "--together", dest="schedule", action="store_const", const="together", help="train all layers in one pass (default)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder to make (default: runs/softhebb-NETWORK-SEED-TIME)")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="continue a run that was stopped or killed; takes no other settings than --device and --features",
    )
    parser.add_argument(
        "--allow-other-machine",
        action="store_true",
        help="resume although another device, version of torch or instruction set would give other digits",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run or resume the experiment; the result is its summary."""
    chosen = given(args, options())
    if args.resume is not None:
        replaced = {name: chosen.pop(name) for name in ("device", "features") if name in chosen}
        if chosen or args.out is not None:
            names = [*(said(name, value) for name, value in chosen.items()), *(["--out"] if args.out is not None else [])]
            raise InvalidArgument(
                f"--resume takes all settings but --device and --features from the run's config.json; leave {', '.join(names)} out"
            )
        out = args.resume
    else:
        if "data" not in chosen:
            raise InvalidArgument("expected DATA: a folder or a Hugging Face name (see: nchl softhebb --help)")
        if args.allow_other_machine:
            raise InvalidArgument("--allow-other-machine only applies to --resume; leave it out")
        settings = SoftHebbSettings(**chosen)
        named = settings.network.split(":")[0] if settings.network is not None else f"{Path(str(settings.layers)).absolute().name}-head"
        name = Path(named).stem
        out = args.out or Path("runs") / f"softhebb-{name}-{settings.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    from nchl.vision import experiment

    with progress() as reporter:
        try:
            if args.resume is not None:
                summary = experiment.resume(out, reporter, allow_other_machine=args.allow_other_machine, **replaced)
            else:
                summary = experiment.start(settings, out, reporter)
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or a signal of a scheduler or a closed terminal
            if (out / "config.json").exists():
                reporter.say(f"stopped; continue from the last checkpoint with: nchl softhebb --resume {out}")
            raise
    return {"run": str(out), **summary}


def text(result: dict[str, Any]) -> str:
    """The summary in a few lines."""
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result["seconds"].items())
    lines = [f"test accuracy {result['test_accuracy']:.2%} ({result['test_correct']:,} of {result['test_images']:,}); {seconds}"]
    if result["validation_accuracy"] is not None:
        lines.append(f"head of epoch {result['head_epoch']}, which has the best validation accuracy, {result['validation_accuracy']:.2%}")
    if result["layers_method"] is not None:
        lines.append(f"layers of {result['layers']}: method {result['layers_method']}")
    return "\n".join([*lines, result["run"]])
