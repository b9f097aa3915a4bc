"""Plasticity in time, the slow way: a loop over neurons and connections in Python floats, with nothing shared with the package."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from reference.mlp import PARAMETERS, nchl_delta

FUNCTIONS: dict[str | None, Callable[[float], float]] = {None: lambda s: s, "tanh": math.tanh, "relu": lambda s: max(s, 0.0)}
AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "max": max,
    "min": min,
    "median": statistics.median_low,
    "mean": lambda values: math.fsum(values) / len(values),
}
Element = tuple[int, ...]


@dataclass
class Edge:
    """An edge, as its connections (element, pre neuron, post neuron); a dense one has one connection for each element (post, pre)."""

    pre: int
    post: int
    delay: int
    rule: str  # "nchl", "hl" or "static"
    connections: list[tuple[Element, int, int]]
    sharing: str = "max"
    weights: dict[Element, float] = field(default_factory=dict)
    trace: dict[Element, float] = field(default_factory=dict)
    synapses: dict[Element, dict[str, float]] = field(default_factory=dict)

    @property
    def elements(self) -> list[Element]:
        """In C order, each once."""
        return sorted({element for element, _, _ in self.connections})


def dense(sizes: Sequence[int], pre: int, post: int, delay: int = 0, rule: str = "nchl") -> Edge:
    """Every neuron to every neuron."""
    return Edge(pre, post, delay, rule, [((j, i), i, j) for j in range(sizes[post]) for i in range(sizes[pre])])


class Life:
    """One individual's lifetime.

    Args:
        sizes: neurons of each group.
        edges: in the order of their weights.
        genome: neurons group by group, synapses edge by edge, static weights.
        weights: of each edge, nested lists; those of static edges are read from the genome.
        functions: of each group; None: tanh, and the identity for the first.
        settings: average, every, trace, modulate, normalise, as users write them.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        edges: Sequence[Edge],
        genome: Sequence[float],
        weights: Sequence[Any],
        functions: Sequence[str | None] | None = None,
        **settings: Any,
    ) -> None:
        self.sizes, self.edges, self.settings = list(sizes), list(edges), settings
        self.functions = functions or [None, *["tanh"] * (len(sizes) - 1)]
        numbers = iter(float(number) for number in genome)
        self.neurons: list[list[dict[str, float]]] = []
        for g, size in enumerate(sizes):
            before = any(edge.pre == g and edge.rule == "nchl" for edge in edges)
            after = any(edge.post == g and edge.rule == "nchl" for edge in edges)
            used = [p for p in PARAMETERS if (before if p == "A" else after if p == "B" else before or after)]
            self.neurons.append([{name: next(numbers) for name in used} for _ in range(size)])
        for edge, given in zip(edges, weights, strict=True):
            edge.weights = dict(flat(given))
            edge.trace = dict.fromkeys(edge.weights, 0.0)
            if edge.rule == "hl":
                edge.synapses = {element: {name: next(numbers) for name in PARAMETERS} for element in edge.elements}
        for edge in edges:
            if edge.rule == "static":
                edge.weights = {element: next(numbers) for element in edge.elements}
        assert next(numbers, None) is None, "the genome is too long"
        self.steps, self.baseline = 0, 0.0
        self.past: list[list[list[list[float]]]] = []  # of each step, of each sample of the batch: activations of the groups
        self.averages: list[list[list[list[float]]]] = []

    def forward(self, batch: Sequence[Sequence[float]]) -> list[list[float]]:
        """Outputs for each observation of a batch."""
        self.past.append([self._activations(b, x) for b, x in enumerate(batch)])
        self.averages.append([[self._average(b, g) for g in range(len(self.sizes))] for b in range(len(batch))])
        self.steps += 1
        return [sample[-1] for sample in self.past[-1]]

    def update(self, reward: float = math.nan) -> None:
        """Traces and weights after the last forward."""
        modulate, gain = self.settings.get("modulate"), 1.0
        if modulate == "reward":
            gain = reward
        elif modulate is not None:
            gain = reward - self.baseline
            self.baseline += float(modulate.removeprefix("advantage:")) * gain
        applies = (self.steps - 1) % self.settings.get("every", 1) == 0
        gamma = self.settings.get("trace") or 0.0
        for edge in self.edges:
            if edge.rule == "static":
                continue
            change = self._change(edge)
            edge.trace = {element: gamma * kept + change[element] for element, kept in edge.trace.items()}
            if applies:
                moved = {element: weight + gain * edge.trace[element] for element, weight in edge.weights.items()}
                edge.weights = normalised(moved, self.settings.get("normalise"))

    def _activations(self, b: int, x: Sequence[float]) -> list[list[float]]:
        groups = [[float(value) for value in x]]
        for g in range(1, len(self.sizes)):
            terms: list[list[float]] = [[] for _ in range(self.sizes[g])]
            for edge in self.edges:
                if edge.post != g or (edge.delay and not self.past):
                    continue
                source = self.past[-1][b][edge.pre] if edge.delay else groups[edge.pre]
                for element, p, q in edge.connections:
                    terms[q].append(edge.weights[element] * source[p])
            groups.append([FUNCTIONS[self.functions[g]](math.fsum(each)) for each in terms])
        return groups

    def _average(self, b: int, g: int) -> list[float]:
        kind, _, number = (self.settings.get("average") or "none").partition(":")
        now = self.past[-1][b][g]
        if kind == "mean":
            last = self.past[-int(number) :]
            return [math.fsum(step[b][g][n] for step in last) / len(last) for n in range(len(now))]
        if kind == "ema":
            before = self.averages[-1][b][g] if self.averages else [0.0] * len(now)
            return [float(number) * x + (1 - float(number)) * a for x, a in zip(now, before, strict=True)]
        return now

    def _change(self, edge: Edge) -> dict[Element, float]:
        """Each connection's change, averaged over the batch; then those of an element share one."""
        batch = len(self.past[-1])
        by_element: dict[Element, list[float]] = {element: [] for element in edge.weights}
        for element, p, q in edge.connections:
            total = []
            for b in range(batch):
                post = self.averages[-1][b][edge.post][q]
                seen = self.averages[-1 - edge.delay] if self.steps > edge.delay else None
                pre = seen[b][edge.pre][p] if seen else 0.0
                if edge.rule == "nchl":
                    total.append(nchl_delta(self.neurons[edge.pre][p], self.neurons[edge.post][q], pre, post))
                else:
                    s = edge.synapses[element]
                    total.append(s["eta"] * (s["A"] * pre + s["B"] * post + s["C"] * pre * post + s["D"]))
            by_element[element].append(math.fsum(total) / batch)
        return {element: AGGREGATES[edge.sharing](values) if values else 0.0 for element, values in by_element.items()}


def normalised(weights: dict[Element, float], kind: str | None) -> dict[Element, float]:
    """An edge's weights after normalisation; what would divide by 0 stays."""
    values = list(weights.values())
    if kind == "max":
        largest = max(map(abs, values))
        return {e: w / largest for e, w in weights.items()} if largest else weights
    if kind == "row":
        lengths = {j: math.sqrt(math.fsum(w * w for e, w in weights.items() if e[0] == j)) for j in {e[0] for e in weights}}
        return {e: w / lengths[e[0]] if lengths[e[0]] else w for e, w in weights.items()}
    if kind == "zscore":
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((w - mean) ** 2 for w in values) / len(values))
        return {e: (w - mean) / deviation for e, w in weights.items()} if len(set(values)) > 1 else weights
    if kind is not None:
        limit = float(kind.removeprefix("clip:"))
        return {e: min(max(w, -limit), limit) for e, w in weights.items()}
    return weights


def flat(nested: Any, place: Element = ()) -> Iterator[tuple[Element, float]]:
    """(element, weight) of nested lists in C order."""
    if not isinstance(nested, (list, tuple)):
        yield place, float(nested)
        return
    for index, part in enumerate(nested):
        yield from flat(part, (*place, index))
