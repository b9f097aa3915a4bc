"""Hold the returns of a random policy under `--simulator warp` to those under Gymnasium, by two tests of two samples for each task.

python benchmarks/warp_returns.py --episodes 200 --json returns.json --out docs/images/warp-returns.png

Starts and actions of the two samples are drawn independently, as the tests want it. With --json what is there already is not played again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from scipy import stats

from nchl.report.plots.style import BLUE, GREY
from nchl.simulators import Wanted, make
from nchl.simulators.base import Seeds
from nchl.simulators.gym import plain
from nchl.simulators.warp import known_ids


def by_warp(task: str, episodes: int, limit: int | None, device: str) -> list[tuple[float, int]]:
    """Return and length of each episode, all side by side."""
    simulator = make("warp", Wanted(task, max_episode_steps=limit, device=device))
    simulator.reset(Seeds.of(range(episodes)))
    space, generator = simulator.action_space, np.random.default_rng(0)
    returns = torch.zeros(episodes, dtype=torch.float64, device=simulator.device)
    lengths = torch.zeros(episodes, dtype=torch.int64, device=simulator.device)
    active = torch.ones(episodes, dtype=torch.bool, device=simulator.device)
    while active.any():
        actions = generator.uniform(space.low, space.high, (episodes, *space.shape)).astype(np.float32)
        step = simulator.step(torch.from_numpy(actions).to(simulator.device), active)
        returns += step.rewards
        lengths += active
        active = active & ~(step.terminated | step.truncated)
    simulator.close()
    return list(zip(returns.tolist(), lengths.tolist(), strict=True))


def by_gymnasium(task: str, episodes: int, limit: int | None) -> list[tuple[float, int]]:
    """Return and length of each episode, one after another."""
    environment, generator = plain(task, **({} if limit is None else {"max_episode_steps": limit})), np.random.default_rng(1)
    found = []
    for episode in range(episodes):
        environment.reset(seed=1_000_000 + episode)
        total, length, ended = 0.0, 0, False
        while not ended:
            space = environment.action_space
            _, reward, terminated, truncated, _ = environment.step(generator.uniform(space.low, space.high).astype(np.float32))
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        found.append((total, length))
    environment.close()
    return found


def tests(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """The p-values of the hypothesis that both samples come from one distribution."""
    found = {"kolmogorov_smirnov": stats.ks_2samp(first, second), "mann_whitney": stats.mannwhitneyu(first, second)}
    return {name: float(each.pvalue) for name, each in found.items()}


def draw(axes: Axes, task: str, found: dict[str, Any]) -> Axes:
    """The share of episodes with at most so high a return."""
    for name, colour, width in (("gymnasium", GREY, 4), ("warp", BLUE, 1.5)):
        axes.ecdf(np.array(found[name])[:, 0], color=colour, linewidth=width, label=name)
    axes.set(xlabel="return of an episode", ylabel="share of episodes")
    axes.set_title(f"{task}: p = {found['kolmogorov_smirnov']:.2f} and {found['mann_whitney']:.2f}", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200, help="in each sample")
    parser.add_argument("--tasks", nargs="+", default=known_ids(), choices=known_ids(), metavar="TASK")
    parser.add_argument("--max-episode-steps", type=int, help="by default the task's own limit, 1,000")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="where to keep the returns")
    parser.add_argument("--out", type=Path, help="where to draw the figure")
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    for task in arguments.tasks:
        if task not in found:
            asked = task, arguments.episodes, arguments.max_episode_steps
            samples = {"warp": by_warp(*asked, arguments.device), "gymnasium": by_gymnasium(*asked)}
            found[task] = {**samples, **tests(*(np.array(sample)[:, 0] for sample in samples.values()))}
        if arguments.json:
            arguments.json.write_text(json.dumps(found))
        returns = {name: np.array(found[task][name])[:, 0] for name in ("warp", "gymnasium")}
        means = " ".join(f"{name} {each.mean():9.2f} ± {each.std():.2f}" for name, each in returns.items())
        print(f"{task:15s} {means}   p {found[task]['kolmogorov_smirnov']:.3f} {found[task]['mann_whitney']:.3f}", flush=True)
    if arguments.out:
        figure, panels = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
        for axes, task in zip(panels.flat, arguments.tasks, strict=False):
            draw(axes, task, found[task])
        panels.flat[0].legend(loc="upper left", frameon=False)
        for axes in panels.flat[len(arguments.tasks) :]:
            axes.set_visible(False)
        figure.savefig(arguments.out, dpi=80)


if __name__ == "__main__":
    main()
