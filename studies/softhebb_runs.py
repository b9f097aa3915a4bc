"""Runs of `nchl softhebb`, one after the other: `python studies/softhebb_runs.py FILE --data DATA --out DIR --nchl PROGRAM`.

The file names each method with its options, and the seeds:

    softhebb:
      small: --network softhebb-small --epochs-head 30
      small-layerwise: --network softhebb-small --epochs-head 30 --layerwise
    seeds: 3

Each run has a folder of its own. Finished runs are skipped, interrupted ones are resumed; a signal stops the run under way at a checkpoint.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_runs(file: Path) -> dict[str, list[str]] | None:
    """Name of each run -> its options; None if the file is one of `nchl sweep`.

    Raises:
        ValueError: methods or seeds are not as above.
    """
    import yaml

    data = yaml.safe_load(file.read_text())
    if "softhebb" not in data:
        return None
    methods, seeds = data["softhebb"], data.get("seeds", 1)
    if set(data) - {"softhebb", "seeds"} or not all(isinstance(words, str) for words in methods.values()):
        raise ValueError(f"{file}: expected `softhebb`, a line of options for each name, and `seeds`, got {data}")
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    return {f"{name}_seed-{seed}": [*shlex.split(words), "--seed", str(seed)] for name, words in methods.items() for seed in numbers}


def main(words: Sequence[str] | None = None) -> int:
    """Run what is not done; 0, 1 where a run has failed, or 128 plus the number of the signal that stopped it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True, help="the images, as `nchl softhebb` takes them")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the runs' folders")
    parser.add_argument("--nchl", default="nchl", help="the program")
    args = parser.parse_args(words)
    received: list[int] = []
    failed = 0
    for name, options in (read_runs(args.file) or {}).items():
        folder = args.out / name
        if (folder / "summary.json").exists():
            continue
        begun = (folder / "config.json").exists()
        what = ["--resume", str(folder)] if begun else [args.data, *options, "--out", str(folder)]
        print(f"{name}: {'goes on' if begun else 'begins'}", flush=True)
        # A session of its own: Ctrl-C comes to it through us alone, once.
        process = subprocess.Popen([args.nchl, "softhebb", *what], start_new_session=True)

        def pass_on(number: int, _: Any, process: subprocess.Popen[bytes] = process) -> None:
            received.append(number)
            process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        if received:  # between two runs, when it reached the process before
            process.send_signal(received[-1])
        code = process.wait()
        if received:
            return 128 + received[-1]
        failed = failed or int(code != 0)
    return failed


if __name__ == "__main__":
    sys.exit(main())
