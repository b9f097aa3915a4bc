"""Draw the learning curve of a run, and beside it what its best individual scores as evolved and with its controls.

python benchmarks/learning_curve.py RUN --out docs/images/halfcheetah.png --title "NcHL 17-128-64-6 on HalfCheetah-v5"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import nchl
from nchl.report.plots import run as plots
from nchl.runs.store.metrics import read_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="")
    parser.add_argument("--episodes", type=int, default=100)
    arguments = parser.parse_args()
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(3, 2), layout="constrained")
    plots.learning_curve(left, read_metrics(arguments.run / "metrics.csv")).set_title(arguments.title)
    plots.evaluation(right, nchl.evaluate(arguments.run, episodes=arguments.episodes, controls=True)).set_title("the best individual")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=150)


if __name__ == "__main__":
    main()
