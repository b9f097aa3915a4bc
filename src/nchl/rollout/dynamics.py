"""Dynamics of the weights over a lifetime: they settle, cycle or drift.

    settles   the mean change of the weights in the last quarter is below 0.4 of that in the first 5 %
    cycles    else, changes repeat themselves with a period, and after a period the weights are back where they were
    drifts    else

A change is the L2 norm of W(t+1) - W(t) over all plastic weights. Only steps that can change them count: every n-th where changes
come at multiples of n, from the first change on. (Hebbian Attractor Networks, arXiv 2603.22512: fixed points and limit cycles.)

Cycles are looked for in the second half: r(l), the autocorrelation of the changes as vectors, less their mean. A period is the
smallest lag l, of at most half of that half, at which r has a peak near its highest one (0.9 of it), behind a lag at which r is at
most half as high, with r(l) >= max(0.5, 4 / sqrt(pairs)), which white noise does not reach; and W(t+l) must lie less than half as
far from W(t) as the weights get within a period, so that a drift with a wobble is a drift.

Norms are exact. Of more than `WIDTH` weights the path and r are taken of a count sketch (each weight is added to one of `WIDTH`
sums with a random sign, from a fixed seed), which keeps inner products up to a relative error of about 1 / sqrt(WIDTH). Kept are
two numbers per step, at most `POINTS` states over the whole life, and the last `RECENT`: 18 MB, however long the life.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nchl.networks.base import PlasticNetwork

SETTLED = 0.4
PERIODIC = 0.5
FEWEST = 20
VERDICTS = ("settles", "cycles", "drifts")
WIDTH = 512
POINTS = 512
RECENT = 4096

_EARLY, _LATE = 0.05, 0.25
_RETURNED = 0.5


@dataclass(frozen=True)
class Dynamics:
    """Changes of the weights in one lifetime.

    Attributes:
        verdict: one of `VERDICTS`, or None where there is none.
        why: the verdict's numbers as words, or why there is none.
        steps: of the life.
        changes: steps that could change the weights, from the first change on.
        every: steps from one change to the next.
        late_share: mean change in the last quarter, by that in the first 5 %; None with fewer than `FEWEST` changes.
        autocorrelation: of the changes, its highest peak beyond lag 1; None where there is no peak.
        period: in steps, the lag of that peak if it counts as a cycle, else None.
        explained: shares of the variance of the path along its first two principal components.
        path: the weights along these two, `(points, 2)`.
        path_steps: steps made before each point of the path.
        relative: of each change, its L2 norm by that of the weights after it.
        change_steps: number of the step, from 1, of each of these.
    """

    verdict: str | None
    why: str
    steps: int
    changes: int = 0
    every: int = 1
    late_share: float | None = None
    autocorrelation: float | None = None
    period: int | None = None
    explained: tuple[float, float] = (0.0, 0.0)
    path: Float[np.ndarray, "points 2"] = field(default_factory=lambda: np.zeros((0, 2)), repr=False)
    path_steps: Int[np.ndarray, " points"] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    relative: Float[np.ndarray, " changes"] = field(default_factory=lambda: np.zeros(0), repr=False)
    change_steps: Int[np.ndarray, " changes"] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @property
    def words(self) -> str:
        """The verdict with its number, as a line."""
        return f"{self.verdict or 'no verdict'}: {self.why}"

    def summary(self) -> dict[str, Any]:
        """A JSON object: all but the curves; `change` is the mean relative change."""
        names = ("verdict", "why", "steps", "changes", "every", "late_share", "autocorrelation", "period")
        mean = float(self.relative.mean()) if len(self.relative) else None
        return {name: getattr(self, name) for name in names} | {"explained": list(self.explained), "change": mean}


class WeightPath:
    """Follows the weights of one network, step by step, in bounded memory.

    path = WeightPath()
    path.look(weights)          # as the life begins, then after each step
    path.dynamics().verdict
    """

    def __init__(self) -> None:
        self._looks = 0
        self._broken: int | None = None
        self._sizes: list[float] = []
        self._norms: list[float] = []
        self._before = np.zeros(0)
        self._sketch: tuple[np.ndarray, np.ndarray] | None = None
        self._recent: deque[np.ndarray] = deque(maxlen=RECENT + 1)
        self._thinned: list[np.ndarray] = []
        self._stride = 1

    def look(self, weights: Float[np.ndarray, " n"]) -> None:
        """Take in all plastic weights: as they were at the beginning, at the first call, and after one more step at each later one."""
        now = np.array(weights, dtype=np.float64).reshape(-1)
        if self._broken is None:
            with np.errstate(over="ignore", invalid="ignore"):
                norm = float(np.linalg.norm(now))
                size = float(np.linalg.norm(now - self._before)) if self._looks else 0.0
            if not (math.isfinite(norm) and math.isfinite(size)):
                self._broken = self._looks
        if self._broken is None:
            if self._looks:
                self._sizes.append(size)
                self._norms.append(norm)
            kept = self._reduced(now)
            self._recent.append(kept)
            if self._looks % self._stride == 0:
                self._thinned.append(kept)
                if len(self._thinned) > POINTS:
                    self._thinned = self._thinned[::2]
                    self._stride *= 2
            self._before = now
        self._looks += 1

    def dynamics(self) -> Dynamics:
        """Dynamics of the weights so far."""
        steps = max(self._looks - 1, 0)
        sizes = np.array(self._sizes)
        moved = np.flatnonzero(sizes)
        every = max(int(np.gcd.reduce(np.diff(moved))), 1) if len(moved) > 1 else 1
        used = np.arange(moved[0], len(sizes), every) if len(moved) else np.zeros(0, np.int64)
        path, explained = principal_path(np.array(self._thinned)) if self._thinned else (np.zeros((0, 2)), (0.0, 0.0))
        norms = np.array(self._norms)[used]
        found: dict[str, Any] = {
            "steps": steps,
            "changes": len(used),
            "every": every,
            "explained": explained,
            "path": path,
            "path_steps": np.arange(len(path)) * self._stride,
            "relative": sizes[used] / np.where(norms > 0, norms, 1.0),
            "change_steps": used + 1,
        }
        if self._broken is not None:
            return Dynamics("drifts", f"the weights are no longer finite after step {self._broken}", **found)
        if not len(used):
            return Dynamics(None, "the weights never changed", **found)
        if len(used) < FEWEST:
            return Dynamics(None, f"{len(used)} changes of the weights are too few, {FEWEST} are needed", **found)
        share = late_share(sizes[used])
        peak, period = self._cycle(used, every)
        found |= {"late_share": share, "autocorrelation": peak, "period": period}
        if share < SETTLED:
            return Dynamics("settles", f"late changes are {share:.2g} of early ones", **found)
        if period is not None:
            return Dynamics("cycles", f"period {period} steps, autocorrelation {peak:.2f}", **found)
        highest = "" if peak is None else f" (highest autocorrelation {peak:.2f})"
        return Dynamics("drifts", f"late changes are {share:.2g} of early ones, and nothing returns{highest}", **found)

    def _reduced(self, weights: np.ndarray) -> np.ndarray:
        if len(weights) <= WIDTH:
            return weights
        if self._sketch is None:
            random = np.random.default_rng(0)
            self._sketch = random.integers(WIDTH, size=len(weights)), random.choice((-1.0, 1.0), size=len(weights))
        place, sign = self._sketch
        return np.bincount(place, sign * weights, WIDTH)

    def _cycle(self, used: np.ndarray, every: int) -> tuple[float | None, int | None]:
        """The highest peak of the autocorrelation and, where it makes a cycle, the period in steps."""
        first = self._looks - len(self._recent)  # number of the oldest state at hand
        half = used[len(used) // 2 :]
        half = half[half >= first]
        states = np.array(self._recent)
        before, after = states[half - first], states[half + 1 - first]
        peak, lag = repeats(after - before)
        if lag is None or not returns(after, lag):
            return peak, None
        return peak, lag * every


def of_path(weights: Iterable[Float[np.ndarray, " n"]]) -> Dynamics:
    """Classifies a whole path.

    Args:
        weights: `(steps + 1, n)`, the initial weights first.
    """
    path = WeightPath()
    for row in weights:
        path.look(row)
    return path.dynamics()


def late_share(changes: Float[np.ndarray, " n"]) -> float:
    """Mean of the last quarter by the mean of the first 5 % (at least one change each)."""
    early, late = max(1, round(_EARLY * len(changes))), max(1, round(_LATE * len(changes)))
    first = float(changes[:early].mean())
    return float(changes[-late:].mean()) / first if first else math.inf


def autocorrelation(vectors: Float[np.ndarray, "n width"], most: int) -> Float[np.ndarray, " lags"]:
    """r(0), ..., r(most): sum of <v_t, v_{t+l}> by the root of the product of the two sums of squares that it runs over."""
    n = len(vectors)
    spectrum = np.fft.rfft(vectors, 2 * n, axis=0)
    products = np.fft.irfft((spectrum.real**2 + spectrum.imag**2).sum(1), 2 * n)[: most + 1]
    squares = np.concatenate([[0.0], np.cumsum((vectors * vectors).sum(1))])
    lags = np.arange(most + 1)
    scale = np.sqrt(squares[n - lags] * (squares[n] - squares[lags]))
    return products / np.where(scale > 0, scale, 1.0)


def repeats(changes: Float[np.ndarray, "n width"]) -> tuple[float | None, int | None]:
    """The highest peak of the changes' autocorrelation, and the lag of the period where it is high enough; see the module."""
    n = len(changes)
    centred = changes - changes.mean(0)
    scale = float(np.abs(centred).max(initial=0.0))
    # Equal changes differ by rounding alone, and rounding has periods of its own.
    if n < 4 or scale == 0 or float((centred**2).sum()) < 1e-2 * float((changes**2).sum()):
        return None, None
    r = autocorrelation(centred / scale, n // 2)
    inner = np.arange(2, len(r) - 1)
    lowest = np.minimum.accumulate(r)
    peaks = inner[(r[inner] >= r[inner - 1]) & (r[inner] >= r[inner + 1]) & (r[inner] > 0) & (lowest[inner] <= r[inner] / 2)]
    if not len(peaks):
        return None, None
    highest = float(r[peaks].max())
    lag = int(peaks[r[peaks] >= 0.9 * highest][0])
    return highest, lag if r[lag] >= max(PERIODIC, 4 / math.sqrt(n - lag)) else None


def returns(states: Float[np.ndarray, "n width"], lag: int) -> bool:
    """Whether states lie near those of a period before, compared to how far they get within a period."""

    def distance(by: int) -> float:
        return float(np.sqrt(((states[by:] - states[:-by]) ** 2).sum(1).mean()))

    reach = max(distance(by) for by in np.unique(np.linspace(1, lag, min(lag, 64)).round().astype(int)))
    return distance(lag) <= _RETURNED * reach


def principal_path(states: Float[np.ndarray, "points width"]) -> tuple[Float[np.ndarray, "points 2"], tuple[float, float]]:
    """The states along their first two principal components, and the shares of the variance that these explain.

    The sign of a component is such that the path ends higher than it begins.
    """
    centred = states - states.mean(0)
    scale = float(np.abs(centred).max(initial=0.0)) or 1.0
    values, vectors = np.linalg.eigh((centred / scale) @ (centred / scale).T)
    values = np.maximum(values[::-1], 0.0)
    path = np.zeros((len(states), 2))
    found = min(2, len(states))
    path[:, :found] = vectors[:, ::-1][:, :found] * np.sqrt(values[:found]) * scale
    path *= np.where(path[-1] < path[0], -1.0, 1.0)
    total = float(values.sum())
    first, second = (float(v) / total if total else 0.0 for v in (*values[:2], 0.0)[:2])
    return path, (first, second)


def plastic_weights(network: PlasticNetwork) -> Float[np.ndarray, " n"]:
    """A copy of all weights of one individual that a rule moves, edge by edge; of a network without a graph, all weights."""
    graph = getattr(network, "graph", None)
    weights = network.weights
    if graph is not None:
        weights = [weight for weight, edge in zip(weights, graph.weighted, strict=True) if edge.plastic]
    flat = [weight.detach().cpu().numpy().astype(np.float64).reshape(-1) for weight in weights]
    return np.concatenate(flat) if flat else np.zeros(0)


def together(lives: list[Dynamics]) -> dict[str, Any]:
    """Dynamics of several lifetimes, as a JSON object.

    The verdict is the most frequent one of those lives that have any (the first of `VERDICTS` where there is a tie); its number and
    the others are means over the lives, the period the median over the lives that cycle, in steps.
    """
    counts = {name: sum(life.verdict == name for life in lives) for name in VERDICTS}
    verdict = max(VERDICTS, key=lambda name: counts[name]) if any(counts.values()) else None
    shares = [life.late_share for life in lives if life.late_share is not None]
    peaks = [life.autocorrelation for life in lives if life.autocorrelation is not None]
    periods = [life.period for life in lives if life.verdict == "cycles" and life.period is not None]
    found: dict[str, Any] = {
        "verdict": verdict,
        "late_share": float(np.mean(shares)) if shares else None,
        "autocorrelation": float(np.mean(peaks)) if peaks else None,
        "period": float(np.median(periods)) if periods else None,
        "explained": np.mean([life.explained for life in lives], axis=0).tolist(),
    }
    number = {"settles": "late_share", "cycles": "period", "drifts": "late_share"}.get(verdict or "")
    why = next((life.why for life in lives if life.verdict == verdict), "")
    return found | {
        "number": None if number is None else found[number],
        "why": why if verdict is None or len(lives) == 1 else f"{counts[verdict]} of {len(lives)} lifetimes, for example: {why}",
        "counts": counts,
        "per_episode": [life.summary() for life in lives],
    }
