"""The fused step, hand-written for NcHL and compiled for other rules.

It is equal to forward and update, and gives the same bits whatever the threads, the population and the place in it.
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import nchl
from nchl.errors import InvalidArgument, ShapeError
from nchl.networks.back_ends import fused as step
from nchl.networks.back_ends.fused import BLOCK, COMPILE_FROM, choose_backend
from nchl.networks.back_ends.kernel import KernelStep
from nchl.networks.mlp import mlp_graph
from nchl.networks.plasticity import Plasticity
from nchl.rules import NCHL

NODES = [5, 18, 3]
needs_compiler = pytest.mark.skipif(step.missing_compiler(torch.device("cpu")) is not None, reason="no C++ compiler")
SETTINGS = {"nchl": {}, "oja": {"normalise": "max", "dtype": torch.float64}}  # one for each compiled function, which takes seconds
WAYS = [
    *(("nchl", "eager", nodes) for nodes in (NODES, [27, 128, 64, 8])),
    *(pytest.param("nchl", "compiled", nodes, marks=needs_compiler) for nodes in (NODES, [27, 128, 64, 8])),
    pytest.param("oja", "compiled", NODES, marks=needs_compiler),
]


def oja(pre, post, weight, eta_post):
    return eta_post * post * (pre - post * weight)


def random(*shape, seed=0, scale=1.0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(scale).to(dtype)


def make(kind, population, backend, nodes=NODES, **keywords):
    keywords = {"population": population, "backend": backend, **keywords}
    return nchl.PlasticMLP(nodes, oja, **keywords) if kind == "oja" else {"nchl": nchl.NcHL, "hl": nchl.HL}[kind](nodes, **keywords)


def live(net, steps=5, rows=None, source=2 * BLOCK):
    """Outputs and final weights of individuals `rows` of a fixed population of `source`."""
    rows = slice(None) if rows is None else rows
    net.set_hrules(random(source, net.nparams, seed=1, scale=0.3)[rows])
    net.reset([random(source, b, a, seed=2, scale=0.1)[rows] for a, b in zip(net.nodes, net.nodes[1:], strict=False)])
    backend = net.backend
    outputs = [net.step(random(source, net.nodes[0], seed=10 + t)[rows]) for t in range(steps)]
    assert net.backend == backend, net.notes
    return [torch.stack(outputs, dim=1), *[w.clone() for w in net.weights]]


@needs_compiler
@pytest.mark.parametrize(("kind", "normalise", "dtype"), [
    ("nchl", None, torch.float32),
    ("nchl", "max", torch.float32),
    ("nchl", None, torch.float64),
    ("nchl", "max", torch.float64),
    pytest.param("hl", None, torch.float32, marks=pytest.mark.slow),
    ("oja", "max", torch.float64),
])  # fmt: skip
def test_fused_is_forward_then_update(kind, normalise, dtype):
    fused, eager = (make(kind, 2 * BLOCK, backend, normalise=normalise, dtype=dtype) for backend in ("compiled", "eager"))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for mine, expected in zip(live(fused), live(eager), strict=True):
        torch.testing.assert_close(mine, expected, rtol=tolerance, atol=tolerance)
    assert fused.backend == "compiled", fused.notes


@needs_compiler
@pytest.mark.parametrize("nodes", [[1, 1], [27, 128, 64, 8], [16, 32, 4], [17, 1, 33, 5], [3, 7, 15, 31, 2]], ids=str)
@pytest.mark.parametrize("normalise", [None, "max"])
def test_the_kernel_takes_layers_of_any_size(nodes, normalise):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        fused, eager = (make("nchl", 9, backend, nodes, normalise=normalise, dtype=dtype) for backend in ("compiled", "eager"))
        for mine, expected in zip(live(fused, rows=slice(3, 12)), live(eager, rows=slice(3, 12)), strict=True):
            torch.testing.assert_close(mine, expected, rtol=tolerance, atol=tolerance)
        assert type(fused._back_end._step) is KernelStep


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernels_tanh_is_accurate(dtype):
    """Layers of one input and weight 1 lay it bare, from tiny numbers to large ones; in units of the last place."""
    x = torch.cat([torch.logspace(-30, 4, 4001, dtype=torch.float64), torch.linspace(0, 25, 4001, dtype=torch.float64)]).to(dtype)
    x = torch.cat([x, -x])[:, None]
    net = make("nchl", len(x), "compiled", [1, 1], dtype=dtype)
    net.reset([torch.ones(1, 1, dtype=dtype)])
    torch.testing.assert_close(net.step(x), torch.tanh(x.double()).to(dtype), rtol=4 * torch.finfo(dtype).eps, atol=0)


@needs_compiler
@pytest.mark.parametrize("normalise", [None, "max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_that_are_not_finite_spread_as_in_the_torch_functions(dtype, normalise):
    """In an observation and in a weight; and not to the neighbours."""
    fused, eager = (make("nchl", 20, backend, [19, 18, 3], dtype=dtype, normalise=normalise) for backend in ("compiled", "eager"))
    weights = [random(20, b, a, scale=0.1, dtype=dtype) for a, b in ((19, 18), (18, 3))]
    for row, value in enumerate((float("nan"), float("inf"), -float("inf"))):
        weights[0][row, 2, 18] = weights[0][3 + row, 17, 0] = weights[1][6 + row, 1, 16] = value
    for net in (fused, eager):
        net.set_hrules(random(20, net.nparams, scale=0.3))
        net.reset(weights)
    for t in range(4):
        x = random(20, 19, seed=t, dtype=dtype)
        x[9, 4], x[10, 18], x[11, 17] = float("nan"), float("inf"), -float("inf")
        torch.testing.assert_close(fused.step(x), eager.step(x), rtol=1e-5, atol=1e-5, equal_nan=True)
    for mine, expected in zip(fused.weights, eager.weights, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert torch.isfinite(mine[12:]).all()
        assert not torch.isfinite(mine[:12]).all()


@needs_compiler
@pytest.mark.parametrize("normalise", [None, "max"])
@pytest.mark.parametrize("kind", ["nchl", pytest.param("hl", marks=pytest.mark.slow)])
def test_looking_changes_nothing(kind, normalise):
    """A deferred update is made before the weights are read, and the next step goes on with the same bits."""
    untouched, watched = (make(kind, BLOCK, "compiled", normalise=normalise) for _ in range(2))
    for net in (untouched, watched):
        net.set_hrules(random(BLOCK, net.nparams, scale=0.3))
    for t in range(6):
        x = random(BLOCK, 5, seed=t)
        y = untouched.step(x)
        assert torch.equal(watched.step(x), y)
        if t == 1:
            before = [w.clone() for w in watched.weights]
            assert all(torch.equal(a, b) for a, b in zip(before, watched.weights, strict=True))
        elif t == 2:
            watched.state_dict()
        elif t == 3:
            watched = copy.deepcopy(watched)
        x.zero_()
        y.fill_(7.0)
    assert all(torch.equal(a, b) for a, b in zip(untouched.weights, watched.weights, strict=True))


@needs_compiler
@pytest.mark.parametrize("nodes", [[5, 18, 3], [33, 40, 7], [1, 2, 1]], ids=str)
@pytest.mark.parametrize("every", [1, 4, 11])
def test_a_trace_that_is_put_off_is_there_when_it_is_looked_at(nodes, every):
    """Between two changes of the weights the kernel keeps what the rule saw; the trace is the same whenever it is asked for.

    Sums in another order differ in their last digits, by processor, and 26 recurrent steps make more of that.
    """
    settings = {"trace": 0.9, "every": every, "average": "ema:0.5", "recurrent": True, "dtype": torch.float64}
    untouched, watched, eager = (make("nchl", 19, backend, nodes, **settings) for backend in ("compiled", "compiled", "eager"))
    for net in (untouched, watched, eager):
        net.set_hrules(random(19, net.nparams, scale=0.3))
        net.reset([random(*w.shape[1:], scale=0.1) for w in net.weights])
    for t in range(26):
        x = random(19, nodes[0], seed=t, dtype=torch.float64)
        y = untouched.step(x)
        assert torch.equal(watched.step(x), y)
        torch.testing.assert_close(eager.step(x), y, rtol=0, atol=1e-9)
        if t in (2, 3, 9, 17):
            seen = watched.state_dict()
            for k in range(3):
                torch.testing.assert_close(seen[f"trace_{k}"], eager.get_buffer(f"trace_{k}"), rtol=0, atol=1e-9)
        elif t == 20:
            watched = copy.deepcopy(watched)
    for net in (untouched, watched):  # a new lifetime knows nothing of what was put off
        net.reset([random(*w.shape[1:], scale=0.1) for w in net.weights])
    assert torch.equal(untouched.step(x), watched.step(x))
    assert not untouched.state_dict()["trace_0"].equal(seen["trace_0"])


@needs_compiler
def test_fused_and_separate_calls_may_be_mixed():
    fused, eager = (make("nchl", BLOCK, backend, dtype=torch.float64) for backend in ("compiled", "eager"))
    for net in (fused, eager):
        net.set_hrules(random(BLOCK, net.nparams, scale=0.3))
    for t in range(8):
        x, outputs = random(BLOCK, 5, seed=t), []
        for net in (fused, eager):
            if t == 4:
                net.set_hrules(random(BLOCK, net.nparams, seed=3, scale=0.3))
            net.plastic = t != 6
            if t in (2, 3):
                outputs.append(net.forward(x))
                net.update()
            else:
                outputs.append(net.step(x))
            if t == 1:
                net.update()  # once more from the same activations
        torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    fused.reset(eager.draw_weights(torch.Generator()))
    eager.reset(eager.draw_weights(torch.Generator()))
    torch.testing.assert_close(fused.step(x), eager.step(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "backend", "nodes"), WAYS, ids=str)
def test_same_bits_in_any_population_and_place(kind, backend, nodes):
    whole = live(make(kind, 2 * BLOCK, backend, nodes, **SETTINGS[kind]))
    shifted = torch.cat([torch.arange(5, 2 * BLOCK), torch.arange(5)])
    for rows in (slice(0, BLOCK), slice(BLOCK, 2 * BLOCK), slice(7, 8), slice(3, 50), shifted):
        count = len(range(2 * BLOCK)[rows]) if isinstance(rows, slice) else len(rows)
        if kind == "oja" and count % BLOCK:  # torch's function is open for multiples of a block
            continue
        part = live(make(kind, count, backend, nodes, **SETTINGS[kind]), rows=rows)
        assert all(torch.equal(a[rows], b) for a, b in zip(whole, part, strict=True))


@pytest.mark.parametrize(("kind", "backend", "nodes"), WAYS, ids=str)
def test_same_bits_with_one_thread_and_with_two(kind, backend, nodes):
    before, lives = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            lives.append(live(make(kind, 2 * BLOCK, backend, nodes, **SETTINGS[kind])))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in lives[1:] for a, b in zip(lives[0], other, strict=True))


@needs_compiler
@pytest.mark.slow
def test_same_bits_from_processes_compiled_with_one_thread_and_with_two(tmp_path: Path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from networks.back_ends.test_fused import live, make, BLOCK\n"
        "from safetensors.torch import save_file\n"
        "life = live(make('hl', 2 * BLOCK, 'compiled', [27, 128, 64, 8]))\n"
        "save_file({str(k): t.contiguous() for k, t in enumerate(life)}, sys.argv[2])"
    )
    tests, results = Path(__file__).parents[2], []
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / f"cache{threads}")}
        file = tmp_path / f"{threads}.safetensors"
        subprocess.run([sys.executable, "-c", code, str(tests), str(file)], check=True, env=environment)
        results.append(load_file(file))
    assert all(torch.equal(results[0][k], results[1][k]) for k in results[0])


@needs_compiler
def test_the_kernel_leaves_out_each_individual_that_is_not_active():
    everyone, some = (make("nchl", 9, "compiled") for _ in range(2))
    for net in (everyone, some):
        net.set_hrules(random(9, net.nparams, scale=0.3))
    active = torch.tensor([True, False, True] * 3)
    before = [w.clone() for w in some.weights]
    for t in range(4):
        x = random(9, 5, seed=t)
        y, expected = some.step(x, active), everyone.step(x)
        assert torch.equal(y[active], expected[active])
        assert not y[~active].any()
    assert torch.equal(some.get_buffer("weights_0")[~active], before[0][~active])
    assert all(torch.equal(a[active], b[active]) for a, b in zip(some.weights, everyone.weights, strict=True))
    assert not some.step(x, torch.zeros(9, dtype=torch.bool)).any()


@needs_compiler
def test_blocks_without_an_active_individual_are_skipped():
    population = 4 * BLOCK
    everyone, some = (make("oja", population, "compiled", **SETTINGS["oja"]) for _ in range(2))
    active = torch.zeros(population, dtype=torch.bool)
    active[[3, 2 * BLOCK, population - 1]] = True  # the second block rests
    resting = slice(BLOCK, 2 * BLOCK)
    for net in (everyone, some):
        net.set_hrules(random(population, net.nparams, scale=0.3))
    before = some.weights[0][resting].clone()
    for t in range(4):
        x = random(population, 5, seed=t)
        y, expected = some.step(x, active), everyone.step(x)
        assert torch.equal(y[active], expected[active])
        assert torch.isfinite(y).all()
    assert torch.equal(some.get_buffer("weights_0")[resting], before)


@pytest.fixture
def uncompiled(monkeypatch):
    """The function that torch would compile, as it is: quick, and with the same arithmetic."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    monkeypatch.setattr(step, "_functions", {})
    monkeypatch.setattr(step, "missing_compiler", lambda device: None)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("normalise", [None, "max"])
def test_who_died_is_born_again_without_his_last_numbers(normalise):
    fused, eager = (nchl.HL([3, 4, 2], population=BLOCK, backend=backend, normalise=normalise) for backend in ("compiled", "eager"))
    for net in (fused, eager):
        net.set_hrules(random(BLOCK, net.nparams, scale=0.3))
        x = random(BLOCK, 3)
        x[5] = float("nan")
        net.step(x)
        net.reset(generator=torch.Generator().manual_seed(0))
    for t in range(3):
        x = random(BLOCK, 3, seed=t)
        torch.testing.assert_close(fused.step(x), eager.step(x))
    assert fused.backend == "compiled"


@pytest.mark.usefixtures("uncompiled")
def test_the_first_step_asks_no_rule():
    """There is nothing to learn from yet, and of no activations a rule may make anything."""

    def logarithmic(pre, post, eta_post):
        return eta_post * post * torch.log(pre.abs())

    net = nchl.PlasticMLP([3, 4, 2], logarithmic, population=BLOCK, backend="compiled")
    net.set_hrules(random(BLOCK, net.nparams))
    for t in range(2):
        assert torch.isfinite(net.step(random(BLOCK, 3, seed=t))).all()
    assert net.backend == "compiled"


def test_two_threads_compile_a_step_once(monkeypatch):
    made = []

    def slow(function, **options):
        made.append(function)
        time.sleep(0.05)
        return function

    monkeypatch.setattr(torch, "compile", slow)
    graph = mlp_graph([2, 1021, 2], NCHL)
    with ThreadPoolExecutor(2) as threads:
        kernels = list(threads.map(lambda _: step.population_function(graph, Plasticity(normalise="max"), ("weights_0",)), range(2)))
    assert kernels[0] is kernels[1] is made[0]
    assert len(made) == 1


@needs_compiler
def test_the_kernel_needs_no_silence(monkeypatch):
    """It is taken by several lanes at once; the filters of warnings belong to them all."""

    def refuse():
        raise AssertionError

    monkeypatch.setattr(step, "compiling", refuse)
    net = make("nchl", 4, "compiled")
    net.step(torch.zeros(4, 5))
    assert net.backend == "compiled"


@pytest.mark.parametrize("kind", ["nchl", "eager", "hl", "wnchl", "static"])
@pytest.mark.usefixtures("uncompiled")
def test_the_active_are_as_many_as_the_individuals(kind):
    """The kernel reads as many numbers as there are individuals, whatever is there."""
    if kind in ("wnchl", "static"):
        net = {"wnchl": nchl.WNcHL, "static": nchl.StaticMLP}[kind](NODES, population=9)
    else:
        net = make("nchl" if kind == "eager" else kind, 9, "eager" if kind == "eager" else "compiled")
    before = net.backend
    for wrong in (torch.ones(8, dtype=torch.bool), torch.ones(10, dtype=torch.bool)):
        with pytest.raises(ShapeError, match=r"active: expected shape \(9,\), got shape \((8|10),\)"):
            net.step(torch.zeros(9, 5), wrong)
    with pytest.raises(InvalidArgument, match="True or False"):
        net.step(torch.zeros(9, 5), torch.ones(9))
    net.step(torch.zeros(9, 5), torch.ones(9, dtype=torch.uint8))
    assert net.backend == before
    with pytest.raises(ShapeError, match="single network"):
        nchl.NcHL(NODES).step(torch.zeros(5), torch.ones(1, dtype=torch.bool))


def test_the_back_end_follows_from_the_configuration():
    assert choose_backend(200, 4 * 10 + 10 * 2) == "eager"
    assert choose_backend(200, 17 * 128 + 128 * 64 + 64 * 6) == "compiled"
    assert choose_backend(None, 10**9) == "eager"
    assert choose_backend(1024, COMPILE_FROM // 1024) == "compiled"
    assert nchl.NcHL([4, 10, 2], population=200).backend == "eager"


@pytest.mark.parametrize("kind", ["nchl", "oja"])
def test_without_a_compiler_it_runs_eagerly_and_says_so_once(monkeypatch, caplog, kind):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(step, "_told", set())
    caplog.set_level("INFO", logger="nchl")
    nets = [make(kind, BLOCK, "auto", [5, 128, 128, 3]) for _ in range(2)]
    assert all(net.backend == "eager" and "no C++ compiler" in net.notes[0] for net in nets)
    assert len(caplog.records) == 1
    nets[0].step(torch.zeros(BLOCK, 5))
    with pytest.raises(InvalidArgument, match=r"backend='compiled': there is no C\+\+ compiler .*; use 'auto' or 'eager'"):
        make(kind, BLOCK, "compiled")


@needs_compiler
def test_a_rule_that_cannot_be_compiled_runs_eagerly(caplog):
    def stubborn(pre, post, eta_post):
        if float(pre.sum()) > 1e9:  # reads a value back: no graph can hold this
            return eta_post * post
        return eta_post * pre * post

    net = nchl.PlasticMLP(NODES, stubborn, population=BLOCK, backend="compiled")
    reference = nchl.PlasticMLP(NODES, stubborn, population=BLOCK, backend="eager")
    for one in (net, reference):
        one.set_hrules(random(BLOCK, net.nparams))
    for t in range(3):
        assert torch.equal(net.step(random(BLOCK, 5, seed=t)), reference.step(random(BLOCK, 5, seed=t)))
    assert "could not be compiled" in net.notes[0]
    assert net.backend == "eager"


def test_importing_does_not_load_the_compiler():
    code = (
        "import sys, torch, nchl\n"
        "for nodes in ([4, 10, 2], [4, 256, 2]):\n"
        "    nchl.NcHL(nodes, population=200).step(torch.zeros(200, 4))\n"
        "print('torch._inductor' in sys.modules or 'torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("name", ["clang++", "c++"])
def test_another_compiler_than_gcc_serves_the_kernel_and_torch(monkeypatch, tmp_path, name):
    """torch by itself looks for g++ only, so that it must be told."""
    (tmp_path / name).symlink_to(shutil.which("g++") or "/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if shutil.which("g++") or shutil.which(name) is None:
        pytest.skip(f"there is a g++ that cannot be hidden, or none to be called {name}")
    told = []
    monkeypatch.setattr(step, "_functions", {})
    monkeypatch.setattr(torch, "compile", lambda function, **how: told.append(how["options"]["cpp.cxx"]) or function)
    assert make("nchl", BLOCK, "compiled").backend == "compiled"
    net = make("oja", BLOCK, "compiled")
    net.step(torch.zeros(BLOCK, 5))
    assert net.backend == "compiled", net.notes
    assert told == [(None, str(tmp_path / name))]
