"""Draw the learning curve of a run, and beside it what its best individual scores with its rule on, off, and frozen half-way.

python benchmarks/learning_curve.py RUN --out docs/images/halfcheetah.png --title "NcHL 17-128-64-6 on HalfCheetah-v5"
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

import nchl

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"  # told apart by the colour-blind too


def curve(axes: Axes, rows: list[dict[str, float]]) -> Axes:
    """Best, mean and standard deviation of each generation."""
    number, best, mean, std = ([row[name] for row in rows] for name in ("generation", "best", "mean", "std"))
    low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
    axes.fill_between(number, low, high, color=BLUE, alpha=0.2, linewidth=0, label="mean ± one standard deviation of the generation")
    axes.plot(number, mean, color=BLUE, label="mean")
    axes.plot(number, best, color=ORANGE, label="best")
    axes.set(xlabel="generation", ylabel="return of one episode")
    axes.legend(loc="lower right", frameon=False)
    return axes


def controls(axes: Axes, means: dict[str, tuple[float, float]]) -> Axes:
    """Mean and standard deviation over unseen episodes, one bar per condition."""
    colours = [ORANGE, GREY, BLUE]
    for position, ((mean, std), colour) in enumerate(zip(means.values(), colours, strict=True)):
        axes.bar(position, mean, yerr=std, color=colour, width=0.6, capsize=4)
        axes.annotate(f"{round(mean):,}", (position, mean), xytext=(14, 3), textcoords="offset points", ha="left")
    axes.set_xticks(range(len(means)), list(means))
    axes.set(ylabel="return (mean ± standard deviation)")
    axes.axhline(0, color="black", linewidth=0.8)
    return axes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="")
    parser.add_argument("--episodes", type=int, default=100)
    arguments = parser.parse_args()
    with (arguments.run / "metrics.csv").open() as file:
        rows = [{name: float(row[name]) for name in ("generation", "best", "mean", "std")} for row in csv.DictReader(file)]
    result = nchl.evaluate(arguments.run, episodes=arguments.episodes, controls=True)
    means = {"as evolved": (result["mean"], result["std"])}
    for name in ("plasticity_off", "frozen_half_way"):
        means[name.replace("_", " ")] = (result[name]["mean"], result[name]["std"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    curve(left, rows).set_title(arguments.title)
    controls(right, means).set_title(f"the best individual, {arguments.episodes} unseen episodes")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=150)


if __name__ == "__main__":
    main()
