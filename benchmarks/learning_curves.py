"""Draw learning curves side by side: one panel for each --panel, in it the first run in blue with its best, an earlier one in grey.

python benchmarks/learning_curves.py --panel "conv-hml, lr 0.05" RUN EARLIER --panel "conv-thesis, max" RUN EARLIER --out curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from nchl.report.plots.run import column
from nchl.report.plots.style import BLUE, GREY
from nchl.runs.store.metrics import read_metrics

WINDOW = 5


def smooth(values: np.ndarray) -> list[float]:
    """The mean of each value and of those before it, `WINDOW` of them where there are as many."""
    return [float(values[max(0, end - WINDOW) : end].mean()) for end in range(1, len(values) + 1)]


def draw(axes: Axes, runs: list[Path]) -> Axes:
    """The mean of each generation, thin and smoothed; of the first run also the best."""
    for run, colour, label in zip(runs, (BLUE, GREY), ("mean", "an earlier run: mean"), strict=False):
        rows = read_metrics(run / "metrics.csv")
        generation, mean = column(rows, "generation"), column(rows, "mean")
        axes.plot(generation, mean, color=colour, alpha=0.35, linewidth=1)
        axes.plot(generation, smooth(mean), color=colour, linewidth=2, label=f"{label}, and over {WINDOW} generations")
        if run is runs[0]:
            axes.plot(generation, column(rows, "best"), ".", color=BLUE, alpha=0.7, markersize=4, label="best of a generation")
    axes.set(xlabel="generation", ylabel="return of an episode")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--panel", nargs="+", action="append", required=True, metavar=("TITLE", "RUN"), help="a title, a run, perhaps an earlier one"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for title, *runs in arguments.panel:
        if len(runs) not in (1, 2):
            parser.error(f"--panel {title!r}: expected one or two runs, got {len(runs)}")
    figure, row = plt.subplots(1, len(arguments.panel), figsize=(6 * len(arguments.panel), 4), layout="constrained", squeeze=False)
    for axes, (title, *runs) in zip(row[0], arguments.panel, strict=True):
        draw(axes, [Path(run) for run in runs]).set_title(title)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=100)


if __name__ == "__main__":
    main()
