"""The thesis's line for image classification, as settings of `nchl softhebb`.

`--dataset CIFAR10 --epochs 51 --device cpu --aggregation_function max --bp_last_layer --softhebb --bp_lr 0.001 --softhebb_lr 0.01`
means: the thesis's network, one unsupervised epoch, 50 epochs for the head. `--bp` trains it by backpropagation instead.
What its published code does otherwise, and what is put right here, stands in docs/softhebb.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from nchl.cli.parser import Parser, at_least, number, one_of, whole_number
from nchl.errors import InvalidArgument

DATASETS = {"CIFAR10": "cifar10", "CIFAR100": "cifar100"}


def parser() -> Parser:
    """The thesis's words, and `--data_dir`, `--unsupervised_epochs`, `--seed`, `--batch_size` and `--out`, which it lacks."""
    made = Parser("run_exp.py", __doc__ or "")
    made.add_argument("--dataset", required=True, type=one_of("data set", DATASETS), metavar="|".join(DATASETS), help="the images")
    made.add_argument("--data_dir", help="folder that holds the images; default: download them from Hugging Face")
    made.add_argument("--epochs", type=whole_number, default=51, help="unsupervised epochs and epochs of the head together (default: 51)")
    made.add_argument("--unsupervised_epochs", type=whole_number, default=None, help="how many of them are unsupervised (default: 1)")
    made.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    made.add_argument("--aggregation_function", default=None, metavar="NAME", help="max, min, median, mean or sum (default: max)")
    made.add_argument("--softhebb", action="store_true", help="layers learn by SoftHebb")
    made.add_argument("--bp_last_layer", action="store_true", help="the head learns by Adam; nothing else is built, so it may be left out")
    made.add_argument("--bp", action="store_true", help="all layers learn by backpropagation")
    made.add_argument("--bp_lr", type=number, default=0.001, help="learning rate of Adam (default: 0.001)")
    made.add_argument("--softhebb_lr", type=number, default=None, help="constant learning rate of SoftHebb (default: 0.005, the thesis's)")
    made.add_argument(
        "--batch_size", type=at_least(1), default=512, help="images per step, unsupervised and head alike (default: 512, the thesis's)"
    )
    made.add_argument("--seed", type=whole_number, default=0, help="of every random number (default: 0)")
    made.add_argument("--saving_path", type=Path, help="the folder in which the run makes its own")
    made.add_argument("--out", help="the run folder to make, in place of --saving_path")
    return made


def command(words: list[str]) -> list[str]:
    """The words of `nchl` that do the same.

    Raises:
        InvalidArgument: words that contradict each other, or leave no epoch for the head.
    """
    args: argparse.Namespace = parser().parse_words(words)
    if args.bp == args.softhebb:
        raise InvalidArgument("give one of --softhebb (with --bp_last_layer) and --bp")
    images = args.data_dir or DATASETS[args.dataset]
    batch = str(args.batch_size)
    line = ["softhebb", images, "--network", "thesis", "--device", args.device, "--seed", str(args.seed), "--lr-head", str(args.bp_lr)]
    line += ["--batch-size-head", batch]
    if args.bp:
        hebbian = ("aggregation_function", "softhebb_lr", "unsupervised_epochs")
        given = [f"--{name}" for name in hebbian if getattr(args, name) is not None] + ["--bp_last_layer"] * args.bp_last_layer
        if given:
            raise InvalidArgument(f"{', '.join(given)} does not apply with --bp; leave it out")
        line += ["--backprop", "--epochs-head", str(args.epochs)]
    else:
        unsupervised = 1 if args.unsupervised_epochs is None else args.unsupervised_epochs
        if not 0 <= unsupervised < args.epochs:
            raise InvalidArgument(f"expected --unsupervised_epochs from 0 to below --epochs ({args.epochs}), got {unsupervised}")
        hebbian = ("aggregation_function", "softhebb_lr")
        given = [f"--{name}" for name in hebbian if getattr(args, name) is not None]
        if not unsupervised and given:
            raise InvalidArgument(f"{', '.join(given)} does not apply with --unsupervised_epochs 0; leave it out")
        line += ["--sharing", args.aggregation_function or "max", "--batch-size", batch] if unsupervised else []
        line += ["--epochs-unsupervised", str(unsupervised), "--epochs-head", str(args.epochs - unsupervised)]
        line += [] if args.softhebb_lr is None else ["--lr", str(args.softhebb_lr)]
    if args.out and args.saving_path:
        raise InvalidArgument(
            f"--saving_path {args.saving_path} holds a new folder of the run, --out {args.out} is one; give one of the two"
        )
    if args.saving_path:
        words = ("bp",) if args.bp else ("softhebb", *([args.aggregation_function or "max"] if unsupervised else []))
        args.out = str(new_folder(args.saving_path, "-".join((DATASETS[args.dataset], *words))))
    return line + (["--out", args.out] if args.out else [])


def new_folder(parent: Path, name: str) -> Path:
    """A folder in `parent`, of this name and the time, that is not there yet."""
    first = parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = first, 2
    while path.exists():
        path, count = first.with_name(f"{first.name}-{count}"), count + 1
    return path
