"""The thesis's line for CarRacing, as options of `nchl evolve` or `nchl resume`.

`--dataset CarRacing --population_size 300 --num_threads 4 --epochs 200 --device cpu --saving_path params/min/
--aggregation_function min` means: the preset `thesis-carracing-min`, in a new folder inside `params/min/`. With `--resume_file
CHECKPOINT` all settings come from that run. What its published code does otherwise, and what is put right here, `nchl presets
thesis-carracing-min` says; the learning rate is one of them, so one that is given is taken as it stands.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from run_exp_softhebb import new_folder

from nchl.cli.parser import Parser, at_least, number, one_of, whole_number
from nchl.errors import RunError

SHARINGS = ("max", "min", "median", "mean")
# The thesis's word -> the option of `nchl evolve`.
_OPTIONS = {
    "population_size": "--population",
    "epochs": "--generations",
    "device": "--device",
    "sigma": "--sigma",
    "abcd_learning_rate": "--lr",
    "abcd_lr_decay": "--lr-decay",
    "seed": "--seed",
}


def parser() -> Parser:
    """The thesis's words, and `--seed`, which it lacks."""
    made = Parser("run_exp.py", __doc__ or "")
    made.add_argument("--dataset", type=one_of("data set", ("CarRacing",)), metavar="CarRacing", help="the task")
    made.add_argument("--population_size", type=whole_number, help="individuals in a generation (default: 300)")
    made.add_argument("--num_threads", type=at_least(1), help="threads that compute (default: as many as there are cores)")
    made.add_argument("--epochs", type=whole_number, help="generations (default: 200); with --resume_file the new total")
    made.add_argument("--device", help="cpu or cuda (default: cpu)")
    made.add_argument("--saving_path", type=Path, default=Path("runs"), help="the folder in which the run makes its own (default: runs)")
    made.add_argument(
        "--aggregation_function",
        type=one_of("aggregation function", SHARINGS),
        default="max",
        metavar="NAME",
        help="max, min, median or mean (default: max)",
    )
    made.add_argument("--sigma", type=number, help="standard deviation of the first generation (default: 0.1)")
    made.add_argument("--abcd_learning_rate", type=number, help="learning rate (default: 0.02, the step that the published code takes)")
    made.add_argument("--abcd_lr_decay", type=number, help="factor on the learning rate after each generation (default: 0.995)")
    made.add_argument("--seed", type=whole_number, help="all randomness follows from it (default: 0)")
    made.add_argument(
        "--resume_file", type=Path, metavar="CHECKPOINT_PATH", help="go on with the run of this checkpoint, or of this run folder"
    )
    return made


def command(words: list[str]) -> list[str]:
    """The words of `nchl` that do the same.

    Raises:
        InvalidArgument: a word that the thesis's program does not have, or a value out of its range.
        RunError: there is no such checkpoint, or the run has a newer one.
    """
    given = parser().parse_words(words)
    if given.num_threads is not None:
        # Read by torch when it is first imported, which is later.
        os.environ["OMP_NUM_THREADS"] = str(given.num_threads)
        if hasattr(os, "sched_setaffinity"):  # simulators and workers have as many threads as there are cores
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.num_threads])
        print(f"with OMP_NUM_THREADS={given.num_threads}, on as many cores", file=sys.stderr)
    if given.resume_file is not None:
        told = sorted(
            {word.partition("=")[0] for word in words if word.startswith("--")}
            - {"--resume_file", "--epochs", "--num_threads", "--dataset"}
        )
        if told:
            print(f"taken from the checkpoint, not from the command line: {' '.join(told)}", file=sys.stderr)
        longer = [] if given.epochs is None else ["--generations", str(given.epochs)]
        return ["resume", str(run_of(given.resume_file)), *longer]
    sharing = given.aggregation_function
    # There is no preset for the mean, which the thesis's program offers and cannot run.
    made = ["evolve", "--preset", f"thesis-carracing-{'max' if sharing == 'mean' else sharing}"]
    made += ["--sharing", "mean"] if sharing == "mean" else []
    for word, option in _OPTIONS.items():
        value = getattr(given, word)
        made += [] if value is None else [option, str(value)]
    return [*made, "--out", str(new_folder(given.saving_path, f"carracing-{sharing}"))]


def run_of(checkpoint: Path) -> Path:
    """The run folder that a checkpoint lies in; a run folder is its own.

    Raises:
        RunError: no such file, or not the newest of its run, from which alone a run goes on.
    """
    if checkpoint.is_dir():
        return checkpoint
    if not checkpoint.is_file():
        raise RunError(
            f"there is no checkpoint {str(checkpoint)!r}; expected RUN/checkpoints/generation-NNNNNN.safetensors or a run folder"
        )
    newest = max(checkpoint.parent.glob("generation-*.safetensors"), default=checkpoint)
    if checkpoint.parent.name != "checkpoints":
        raise RunError(
            f"{str(checkpoint)!r} does not lie in a run's folder checkpoints/; expected RUN/checkpoints/generation-NNNNNN.safetensors"
        )
    if newest.name != checkpoint.name:
        raise RunError(f"{str(checkpoint)!r} is not the newest of its run, from which it goes on; give {str(newest)!r}")
    return checkpoint.parent.parent
