"""Plasticity in time against loops over neurons and reference vectors, with each back end, alone and inside a population."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import nchl
from nchl.networks.back_ends.kernel import KernelStep
from nchl.rules.kernels import program as kernels
from nchl.rules.kernels.build import compiler_path
from reference.convolution import connections
from reference.time import Edge, Life, dense

needs_compiler = pytest.mark.skipif(compiler_path() is None, reason="no C++ compiler")
WAYS = [(None, "eager"), (3, "eager"), pytest.param(3, "compiled", marks=needs_compiler)]
GOLDEN = ("mean", "ema", "recurrent", "recurrenthl", "skip", "reward", "advantage", "row", "clip")


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


SETTINGS = st.fixed_dictionaries({
    "average": st.sampled_from([None, "mean:1", "mean:3", "ema:0.3", "ema:1"]),
    "every": st.sampled_from([1, 1, 2, 3]),
    "trace": st.sampled_from([None, 0.0, 0.7, 1.0]),
    "modulate": st.sampled_from([None, "reward", "advantage:0.2"]),
    "normalise": st.sampled_from([None, "max", "row", "zscore", "clip:0.3"]),
})  # fmt: skip


@st.composite
def graphs(
    draw: Any, rules: tuple[str, ...] = ("nchl", "hl", "static")
) -> tuple[list[int], list[tuple[int, int, int, str]], list[str | None]]:
    """Sizes, edges (pre, post, delay, rule) and functions: a chain, so that each group is reached, and up to four other edges."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    last = len(sizes) - 1
    chain = [(k, k + 1, 0) for k in range(last)]
    more = [(a, b, 0) for a, b in itertools.combinations(range(len(sizes)), 2)] + [
        (a, b, 1) for a in range(last + 1) for b in range(1, last + 1)
    ]
    edges = draw(st.permutations(chain + draw(st.lists(st.sampled_from(more), max_size=4))))
    named = [(*edge, draw(st.sampled_from(rules))) for edge in edges]
    if all(rule == "static" for *_, rule in named):
        named[0] = (*named[0][:3], "nchl")
    return sizes, named, [None, *(draw(st.sampled_from(["tanh", "relu", None])) for _ in range(last))]


def network(sizes: list[int], edges: list[tuple[int, int, int, str]], functions: list[str | None], **keywords: Any) -> nchl.PlasticGraph:
    groups = {f"g{k}": nchl.Group(n, f) for k, (n, f) in enumerate(zip(sizes, functions, strict=True))}
    declared = [nchl.Edge(f"g{a}", f"g{b}", delay, rule=rule) for a, b, delay, rule in edges]
    return nchl.PlasticGraph(groups, declared, dtype=torch.float64, **keywords)


def play(net: nchl.PlasticGraph, inputs: Tensor, rewards: Tensor, by_step: bool) -> Tensor:
    """Outputs of an episode; the last update is asked for where it waits for its reward."""
    outputs = []
    for t, x in enumerate(inputs):
        if by_step:
            outputs.append(net.step(x, reward=rewards[t - 1]) if net.needs_reward and t else net.step(x))
        else:
            outputs.append(net.forward(x))
            net.update(rewards[t] if net.needs_reward else None)
    if by_step and net.needs_reward:
        net.update(rewards[-1])
    return torch.stack(outputs)


def compare(net: nchl.PlasticGraph, lives: list[Life], inputs: Tensor, rewards: Tensor, by_step: bool) -> None:
    """A network against one slow life for each individual; `inputs (steps, population, batch, n)`, `rewards (steps, population)`."""
    made = play(net, inputs if net.population else inputs[:, 0], rewards if net.population else rewards[:, 0], by_step)
    made = made if net.population else made[:, None]
    for p, slow in enumerate(lives):
        for t in range(len(inputs)):
            x = inputs[t, p]
            expected = slow.forward(x.tolist() if x.ndim > 1 else [x.tolist()])
            np.testing.assert_allclose(made[t, p].reshape(len(expected), -1), expected, rtol=1e-9, atol=1e-11, err_msg=f"step {t}")
            slow.update(float(rewards[t, p]))
        for weight, edge in zip(net.weights, slow.edges, strict=True):
            mine = (weight[p] if net.population else weight).flatten()
            np.testing.assert_allclose(mine, list(edge.weights.values()), rtol=1e-9, atol=1e-11)


def against_loops(drawn: Any, population: int | None, batch: int | None, by_step: bool, seed: int, backend: str, **keywords: Any) -> None:
    (sizes, edges, functions), people, steps = drawn, population or 1, 7
    net = network(sizes, edges, functions, population=population, backend=backend, **keywords)
    genome = random(people, net.nparams, seed=seed, scale=0.4)
    start = [random(people, sizes[b], sizes[a], seed=seed + 1, scale=0.3) for a, b, _, _ in edges]
    net.set_hrules(genome if population else genome[0])
    free = [w if population else w[0] for w, (*_, rule) in zip(start, edges, strict=True) if rule != "static"]
    net.reset(free)
    lives = [
        Life(sizes, [dense(sizes, *edge) for edge in edges], genome[p].tolist(), [w[p].tolist() for w in start], functions, **keywords)
        for p in range(people)
    ]
    inputs = random(steps, people, *(() if batch is None else (batch,)), sizes[0], seed=seed + 2)
    compare(net, lives, inputs, random(steps, people, seed=seed + 3), by_step)
    if backend == "compiled" and by_step and batch is None:
        assert isinstance(net._back_end._step, KernelStep), net.notes  # type: ignore[attr-defined]


@given(graphs(), SETTINGS, st.sampled_from([None, 3]), st.sampled_from([None, None, 2]), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_graphs_equal_plain_loops(
    drawn: Any, chosen: dict[str, Any], population: int | None, batch: int | None, by_step: bool, seed: int
) -> None:
    against_loops(drawn, population, batch, by_step, seed, "eager", **chosen)


@needs_compiler
@given(
    graphs(("nchl", "nchl", "static")),
    SETTINGS,
    st.sampled_from([1, 3]),
    st.sampled_from([None, None, 2]),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_the_kernel_equals_plain_loops(
    drawn: Any, chosen: dict[str, Any], population: int, batch: int | None, by_step: bool, seed: int
) -> None:
    against_loops(drawn, population, batch, by_step, seed, "compiled", **chosen)


def vectors(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def setting(g: dict[str, np.ndarray]) -> dict[str, Any]:
    """The settings of a reference vector, as keywords."""
    word = {name: str(g[name]) for name in ("average", "modulate", "normalise") if name in g}
    named = {name: value for name, value in word.items() if value != "none"}
    return {**named, "every": int(g["every"]), "trace": float(g["trace"]) or None}


@pytest.mark.parametrize(("population", "backend"), WAYS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", GOLDEN)
def test_the_reference_vectors(golden: Path, name: str, dtype: torch.dtype, population: int | None, backend: str) -> None:
    g = vectors(golden / f"time_{name}.npz")
    sizes, edges, rule = g["sizes"].tolist(), [tuple(map(int, edge)) for edge in g["edges"]], str(g["rule"])
    if rule != "nchl":
        backend = "eager"
    keywords = {"population": population, "dtype": dtype, "backend": backend, **setting(g)}
    made = [nchl.PlasticGraph({f"g{k}": n for k, n in enumerate(sizes)}, [(f"g{a}", f"g{b}", d) for a, b, d in edges], rule, **keywords)]
    for recurrent in (False, True):
        plain = [(k, k + 1, 0) for k in range(len(sizes) - 1)]
        loops = [(k + 1, k + 1, 1) for k in range(len(sizes) - 2)]
        wanted = [e for pair in itertools.zip_longest(plain, loops if recurrent else []) for e in pair if e]
        if wanted == edges:
            made.append({"nchl": nchl.NcHL, "hl": nchl.HL}[rule](sizes, recurrent=recurrent, **keywords))
    assert len(made) == 1 + (name != "skip")
    close: dict[str, Any] = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-11}
    for net, by_step in itertools.product(made, (False, True)):
        assert net.nparams == len(g["rules"])
        rules, inputs, rewards = (torch.as_tensor(g[key], dtype=dtype) for key in ("rules", "inputs", "rewards"))
        if population:
            rules, inputs = torch.stack([0.1 * rules, rules, -rules]), torch.stack([0.3 * inputs, inputs, -inputs], dim=1)
            rewards = torch.stack([-rewards, rewards, 0 * rewards], dim=1)
        net.set_hrules(rules)
        net.reset([torch.as_tensor(g[f"w0_{k}"]) for k in range(len(edges))])
        outputs = play(net, inputs, rewards, by_step)
        np.testing.assert_allclose(outputs[:, 1] if population else outputs, g["outputs"], **close)
        for k, weight in enumerate(net.weights):
            np.testing.assert_allclose(weight[1] if population else weight, g[f"w_final_{k}"], **close)


def test_every_reference_vector_is_tested(golden: Path) -> None:
    assert {path.stem for path in golden.glob("time_*.npz")} == {f"time_{name}" for name in GOLDEN}


def sequential() -> nn.Sequential:
    layers = [nn.Conv2d(2, 3, 3, bias=False), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4, bias=False), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(4, 2, bias=False)).double()


CONV_BACKENDS = ["eager", pytest.param("compiled", marks=pytest.mark.skipif(bool(kernels.unavailable()), reason="no kernels here"))]


@pytest.mark.parametrize("backend", CONV_BACKENDS)
@pytest.mark.parametrize("population", [None, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["max", "median"])
def test_the_reference_vectors_of_convolutions(golden: Path, name: str, dtype: torch.dtype, population: int | None, backend: str) -> None:
    g = vectors(golden / f"convtime_{name}.npz")
    net = nchl.from_module(sequential(), (2, 6, 6), name, population=population, dtype=dtype, backend=backend, **setting(g))
    rules, inputs = (torch.as_tensor(g[key], dtype=dtype) for key in ("rules", "inputs"))
    close: dict[str, Any] = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-11}
    for by_step in (False, True):
        net.set_hrules(torch.stack([0.5 * rules, rules, 0.1 * rules]) if population else rules)
        net.reset([torch.as_tensor(g[key]) for key in ("kernel0", "linear0_0", "linear0_1")])
        x = torch.stack([-inputs, inputs, 0 * inputs], dim=1) if population else inputs
        outputs = play(net, x, torch.zeros(len(x)), by_step)
        np.testing.assert_allclose(outputs[:, 1] if population else outputs, g["outputs"], **close)
        for weight, key in zip(net.weights, ("kernel_final", "linear_final_0", "linear_final_1"), strict=True):
            np.testing.assert_allclose(weight[1] if population else weight, g[key], **close)


@pytest.mark.parametrize("backend", CONV_BACKENDS)
@given(
    chosen=SETTINGS,
    sharing=st.sampled_from(["max", "min", "median", "mean"]),
    rule=st.sampled_from(["nchl", "hl"]),
    population=st.sampled_from([None, 3]),
    batch=st.sampled_from([None, None, 2]),
    by_step=st.booleans(),
    padding=st.sampled_from([0, 1]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_convolutions_equal_loops_over_connections(
    backend: str,
    chosen: dict[str, Any],
    sharing: str,
    rule: str,
    population: int | None,
    batch: int | None,
    by_step: bool,
    padding: int,
    seed: int,
) -> None:
    """The trace is kept per kernel element, after sharing; averages per neuron."""
    side, people, steps = 3 + 2 * padding - 1, population or 1, 5
    layers = [nn.Conv2d(1, 2, 2, padding=padding, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(2 * side**2, 2, bias=False), nn.Tanh()]
    net = nchl.from_module(
        nn.Sequential(*layers).double(),
        (1, 3, 3),
        sharing,
        rule=rule,
        population=population,
        backend=backend,
        **{"normalise": None, **chosen},
    )
    sizes = [9, 2 * side**2, 2]
    genome = random(people, net.nparams, seed=seed, scale=0.4)
    shapes = [(2, 1, 2, 2), (2, sizes[1])]
    start = [random(people, *shape, seed=seed + 1, scale=0.3) for shape in shapes]
    net.set_hrules(genome if population else genome[0])
    net.reset([w if population else w[0] for w in start])
    found = connections((1, 3, 3), (2, side, side), (2, 1, 2, 2), (1, 1), (padding, padding), (1, 1))
    shared = [(element, 3 * p[1] + p[2], (side * q[0] + q[1]) * side + q[2]) for element, p, q in found]
    lives = [
        Life(
            sizes,
            [Edge(0, 1, 0, rule, shared, sharing), dense(sizes, 1, 2, 0, rule)],
            genome[p].tolist(),
            [w[p].tolist() for w in start],
            **chosen,
        )
        for p in range(people)
    ]
    inputs = random(steps, people, *(() if batch is None else (batch,)), 9, seed=seed + 2)
    rewards = random(steps, people, seed=seed + 3)
    seen = inputs.unflatten(-1, (1, 3, 3))
    made = play(net, seen if population else seen[:, 0], rewards if population else rewards[:, 0], by_step)
    for p, slow in enumerate(lives):
        for t in range(steps):
            x = inputs[t, p]
            expected = slow.forward(x.tolist() if batch else [x.tolist()])
            mine = made[t, p] if population else made[t]
            np.testing.assert_allclose(mine.reshape(len(expected), -1), expected, rtol=1e-9, atol=1e-11)
            slow.update(float(rewards[t, p]))
        for weight, edge in zip(net.weights, slow.edges, strict=True):
            np.testing.assert_allclose((weight[p] if population else weight).flatten(), list(edge.weights.values()), rtol=1e-9, atol=1e-11)
