from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

import nchl
from nchl.errors import InvalidArgument, OrderError, ShapeError, UnknownName, whole_number
from nchl.networks import initial
from nchl.networks.checks import check_nodes
from reference.mlp import hl_life, nchl_life

GOLDEN = ["nchl_small", "nchl_deep", "hl_small", "hl_deep"]
CLASSES = {"nchl": nchl.NcHL, "hl": nchl.HL}


def oja(pre, post, weight, eta_post):
    return eta_post * post * (pre - post * weight)


def make(kind, nodes, **keywords):
    return nchl.PlasticMLP(nodes, oja, **keywords) if kind == "oja" else CLASSES[kind](nodes, **keywords)


def random(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale


@pytest.mark.parametrize("fused", [False, True], ids=["forward+update", "step"])
@pytest.mark.parametrize("population", [None, 3])
@pytest.mark.parametrize("name", GOLDEN)
def test_reference_vectors(golden: Path, name: str, population: int | None, fused: bool):
    g = np.load(golden / f"{name}.npz")
    layers = len(g["nodes"]) - 1
    for dtype, tolerance in ((torch.float64, 1e-12 if population is None else 1e-11), (torch.float32, 1e-5)):
        net = CLASSES[name.split("_")[0]](g["nodes"].tolist(), population=population, dtype=dtype)
        assert net.nparams == len(g["rules"])
        net.set_hrules(np.random.default_rng(0).normal(size=net.nparams))  # a second call replaces the first
        rules = g["rules"] if population is None else np.stack([g["rules"] * 0.1, g["rules"], -g["rules"]])
        net.set_hrules(rules)
        net.reset([torch.as_tensor(g[f"w0_{k}"]) for k in range(layers)])
        for x, expected in zip(g["inputs"], g["outputs"], strict=True):
            y = net.step(torch.as_tensor(x)) if fused else net.forward(torch.as_tensor(x))
            if not fused:
                net.update()
            np.testing.assert_allclose(y if population is None else y[1], expected, rtol=0, atol=tolerance)
        for k in range(layers):
            mine = net.weights[k] if population is None else net.weights[k][1]
            np.testing.assert_allclose(mine, g[f"w_final_{k}"], rtol=0, atol=tolerance)


@given(nodes=st.lists(st.integers(1, 4), min_size=2, max_size=4), seed=st.integers(0, 99), normalise=st.booleans())
@settings(max_examples=15, deadline=None)
def test_equal_to_plain_loops(nodes, seed, normalise):
    inputs = random(4, nodes[0], seed=seed)
    for cls, life in ((nchl.NcHL, nchl_life), (nchl.HL, hl_life)):
        if cls is nchl.HL and normalise:
            continue
        net = cls(nodes, dtype=torch.float64, normalise="max" if normalise else None)
        genome = random(net.nparams, seed=seed + 1, scale=0.5)
        net.set_hrules(genome)
        weights = net.draw_weights(torch.Generator().manual_seed(seed))
        net.reset(weights)
        extra = {"normalise": True} if normalise else {}
        outputs, final = life(nodes, genome.tolist(), [w.tolist() for w in weights], inputs.tolist(), **extra)
        np.testing.assert_allclose(torch.stack([net.step(x) for x in inputs]), outputs, rtol=0, atol=1e-12)
        for mine, expected in zip(net.weights, final, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["nchl", "hl", "oja"])
@pytest.mark.parametrize("normalise", [None, "max"])
def test_a_population_is_a_loop_over_individuals(kind, normalise):
    population, nodes = 5, [4, 6, 3]
    crowd = make(kind, nodes, population=population, normalise=normalise, dtype=torch.float64)
    genomes = random(population, crowd.nparams, scale=0.3)
    crowd.set_hrules(genomes)
    start = [random(population, b, a, seed=7) for a, b in itertools.pairwise(nodes)]
    crowd.reset(start)
    alone = [make(kind, nodes, normalise=normalise, dtype=torch.float64) for _ in range(population)]
    for p, net in enumerate(alone):
        net.set_hrules(genomes[p])
        net.reset([w[p] for w in start])
    for t in range(6):
        x = random(population, 4, seed=t)
        y = crowd.step(x)
        for p, net in enumerate(alone):
            torch.testing.assert_close(net.step(x[p]), y[p], rtol=0, atol=1e-13)


def test_float32_and_float64_agree():
    nodes, genome = [5, 7, 2], random(nchl.NcHL([5, 7, 2]).nparams, scale=0.3)
    nets = [nchl.NcHL(nodes, dtype=dtype, generator=torch.Generator().manual_seed(3)) for dtype in (torch.float32, torch.float64)]
    for net in nets:
        net.set_hrules(genome)
    for t in range(10):
        single, double = (net.step(random(5, seed=t)) for net in nets)
        torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["nchl", "hl", "oja"])
@pytest.mark.parametrize("population", [None, 3])
def test_over_a_batch_each_connections_update_is_averaged(kind, population):
    lead = () if population is None else (population,)
    net, batch = make(kind, [3, 4, 2], population=population, dtype=torch.float64), 5
    net.set_hrules(random(*lead, net.nparams))
    start = [w.clone() for w in net.weights]
    x = random(*lead, batch, 3, seed=4)
    y = net.step(x)
    after = [w.clone() for w in net.weights]
    deltas = []
    for b in range(batch):
        net.reset(start)
        torch.testing.assert_close(net.step(x[..., b, :]), y[..., b, :], rtol=0, atol=1e-13)
        deltas.append([w - s for w, s in zip(net.weights, start, strict=True)])
    for k, weight in enumerate(after):
        torch.testing.assert_close(weight - start[k], torch.stack([d[k] for d in deltas]).mean(0), rtol=0, atol=1e-13)


def test_setting_rules_twice_is_setting_them_once_and_moves_no_weight():
    once, twice = (nchl.NcHL([3, 4, 2]) for _ in range(2))
    twice.set_hrules(random(twice.nparams, seed=5))
    before = [w.clone() for w in twice.weights]
    for net in (once, twice):
        net.set_hrules(random(net.nparams, seed=6).tolist())
    assert all(torch.equal(a, b) for a, b in zip(before, twice.weights, strict=True))
    for t in range(4):
        assert torch.equal(once.step(random(3, seed=t)), twice.step(random(3, seed=t)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_rules_that_are_not_finite_are_refused_and_change_nothing(bad):
    net = nchl.NcHL([3, 4, 2], population=2, dtype=torch.float32)
    net.set_hrules(random(net.nparams))
    genome, weights = net.genome.clone(), [w.clone() for w in net.weights]
    vector = random(2, net.nparams)
    vector[1, 3] = bad
    with pytest.raises(InvalidArgument, match="finite"):
        net.set_hrules(vector)
    assert torch.equal(net.genome, genome)
    assert all(torch.equal(a, b) for a, b in zip(net.weights, weights, strict=True))


@pytest.mark.parametrize("population", [None, 3])
def test_state_dict_round_trip_without_pickle(population):
    lead = () if population is None else (population,)
    net = nchl.NcHL([3, 4, 2], population=population, normalise="max", generator=torch.Generator().manual_seed(1))
    net.set_hrules(random(*lead, net.nparams))
    net.step(random(*lead, 3))
    net.forward(random(*lead, 3, seed=1))
    copy = nchl.NcHL([3, 4, 2], population=population, normalise="max")
    copy.load_state_dict(load_tensors(save_tensors(net.state_dict())))
    for one in (net, copy):
        one.update()
    for t in range(3):
        assert torch.equal(net.step(random(*lead, 3, seed=t)), copy.step(random(*lead, 3, seed=t)))


def test_update_needs_a_forward_in_this_lifetime():
    net = nchl.NcHL([3, 2])
    with pytest.raises(OrderError, match="forward"):
        net.update()
    net.step(torch.zeros(3))
    net.reset()
    with pytest.raises(OrderError):
        net.update()


def test_normalisation_divides_by_the_largest_and_leaves_zeros():
    net = nchl.NcHL([3, 4, 2], population=2, normalise="max", initial_weights="zeros")
    net.set_hrules(torch.stack([torch.zeros(net.nparams), torch.ones(net.nparams)]))
    net.step(torch.ones(2, 3))
    assert all(float(w[0].abs().max()) == 0 for w in net.weights)
    assert all(float(w[1].abs().max()) == 1 for w in net.weights)


def test_nothing_records_a_graph():
    net = nchl.NcHL([3, 4, 2])
    net.set_hrules(random(net.nparams).requires_grad_())
    x = torch.ones(3, requires_grad=True)
    for _ in range(3):
        assert net.step(x).grad_fn is None
    assert all(w.grad_fn is None and not w.requires_grad for w in net.weights)


def test_memory_of_observations_and_outputs_may_be_used_again():
    net, other = (nchl.NcHL([3, 4, 2]) for _ in range(2))
    for one in (net, other):
        one.set_hrules(random(one.nparams))
    x = torch.ones(3)
    y = net.forward(x)
    x.zero_()
    y.fill_(9.0)
    net.update()
    other.step(torch.ones(3))
    assert all(torch.equal(a, b) for a, b in zip(net.weights, other.weights, strict=True))


@pytest.mark.parametrize(("name", "check"), [
    ("zeros", lambda w: not w.any()),
    ("uniform", lambda w: 0.095 < w.abs().max() <= 0.1 and abs(float(w.std()) - 0.1 / 3**0.5) < 0.002),
    ("normal", lambda w: abs(float(w.std()) - 0.024) < 0.001),
    ("xavier", lambda w: 0.95 < w.abs().max() / (0.3 * (6 / 200) ** 0.5) <= 1),
    ("kaiming", lambda w: 0.95 < w.abs().max() / (6 / 120) ** 0.5 <= 1),
    ("uniform1", lambda w: 0.98 < w.abs().max() <= 1),
    ("sparse", lambda w: float((w == 0).double().mean()) == pytest.approx(0.8) and abs(float(w[w != 0].std()) - 0.01) < 0.001),
])  # fmt: skip
def test_initial_weights(name, check):
    net = nchl.NcHL([120, 80], initial_weights=name)
    weights = net.draw_weights(torch.Generator().manual_seed(0))
    assert check(weights[0])
    again = net.draw_weights(torch.Generator().manual_seed(0))
    assert torch.equal(weights[0], again[0])
    crowd = nchl.NcHL([120, 80], initial_weights=name, population=2)
    crowd.reset(generator=torch.Generator().manual_seed(0))
    assert torch.equal(crowd.weights[0][1], weights[0])  # the same for everyone


@pytest.mark.parametrize("make", [
    nchl.NcHL,
    nchl.HL,
    nchl.PlasticMLP,
    lambda nodes, **more: nchl.PlasticGraph({"in": nodes[0], "out": nodes[1]}, [("in", "out")], **more),
    lambda nodes, **more: nchl.from_module(nn.Sequential(nn.Linear(*nodes, bias=False)), nodes[:1], **more),
], ids=["NcHL", "HL", "PlasticMLP", "PlasticGraph", "from_module"])  # fmt: skip
def test_the_global_seed_changes_no_weight_and_a_generator_does(make):
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        drawn.append(make([3, 2]).weights[0])
    assert torch.equal(*drawn)
    first, second, again = (make([3, 2], generator=torch.Generator().manual_seed(seed)).weights[0] for seed in (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    for kind in (nchl.NcHL, nchl.HL, nchl.PlasticMLP, nchl.PlasticGraph, nchl.from_module):
        assert "`torch.manual_seed` does not change" in str(kind.__doc__)


def test_weights_that_evolve_are_not_drawn():
    with pytest.raises(InvalidArgument, match="'coevolved': none are drawn, they stand in the genome; draw one of zeros, uniform"):
        initial.draw("coevolved", (2, 3), torch.Generator())


def test_every_initial_distribution_is_tested():
    assert set(initial.NAMES) == {"zeros", "uniform", "normal", "xavier", "kaiming", "uniform1", "sparse", "coevolved"}


def test_coevolved_weights_come_from_the_genomes_end():
    net = nchl.NcHL([3, 2], population=2, initial_weights="coevolved")
    genomes = random(2, net.nparams, dtype=torch.float32)
    net.set_hrules(genomes)
    net.reset(net.draw_weights(torch.Generator()))
    assert torch.equal(net.weights[0], genomes[:, -6:].reshape(2, 2, 3))


def test_a_connections_own_numbers_and_a_neurons_may_be_mixed():
    def mixed(pre, post, gain_pre, rate_synapse):
        return rate_synapse * gain_pre * pre * post

    net = nchl.PlasticMLP([2, 3, 1], mixed, dtype=torch.float64)
    assert [(b.name, b.shape) for b in net.layout.blocks] == [
        ("input", (2, 1)),
        ("hidden0", (3, 1)),
        ("layer0", (3, 2, 1)),
        ("layer1", (1, 3, 1)),
    ]
    genome = random(net.nparams)
    net.set_hrules(genome)
    before = [w.clone() for w in net.weights]
    net.step(random(2))
    a, named = net.activations, net.layout.unpack(genome)
    expected = named["layer0"][..., 0] * named["input"][:, 0] * a[0] * a[1][:, None]
    torch.testing.assert_close(net.weights[0] - before[0], expected, rtol=0, atol=1e-14)


def test_plasticity_can_be_switched_off():
    net = nchl.NcHL([3, 2])
    net.set_hrules(torch.ones(net.nparams))
    net.plastic = False
    before = net.weights[0].clone()
    net.step(torch.ones(3))
    assert torch.equal(net.weights[0], before)


def test_numbers_may_come_in_any_form():
    net = nchl.NcHL([3, 2], dtype=torch.float64)
    vector, weight = np.arange(20) / 7, np.arange(6.0).reshape(2, 3)
    forms = [vector[::-1].copy()[::-1], vector.astype(">f8"), vector.tolist(), np.broadcast_to(vector, (1, 20))[0]]
    for one in forms:
        net.set_hrules(np.zeros(20))
        net.set_hrules(one)
        assert np.array_equal(net.genome, vector)
    for one in (weight, weight[::-1].copy()[::-1], weight.tolist(), torch.as_tensor(weight)):
        net.reset([one])
        assert np.array_equal(net.weights[0], weight)


@pytest.mark.parametrize("network", [
    lambda: nchl.WNcHL([3, 2], population=2),
    lambda: nchl.NcHL([3, 2], population=2, backend="compiled"),
    lambda: nchl.HL([3, 2], population=2),
    lambda: nchl.from_module(nn.Sequential(nn.Linear(3, 4, bias=False), nn.Sigmoid()), (3,), population=2),
    lambda: nchl.from_module(nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Flatten()), (1, 3, 2), population=2, termwise=True),
])  # fmt: skip
def test_a_life_may_begin_in_inference_mode_and_go_on_without(network):
    outputs = []
    for mode in (True, False):
        net = network()
        with torch.inference_mode(mode):
            net.set_hrules(random(2, net.nparams).float())
            net.reset(generator=torch.Generator().manual_seed(0))
            net.forward(torch.ones(2, *net.input_shape))
        net.update()
        net.step(torch.ones(2, *net.input_shape))
        with torch.inference_mode(mode):
            net.step(torch.ones(2, *net.input_shape))
        outputs.append(net.step(torch.ones(2, *net.input_shape)).clone())
    assert torch.equal(*outputs)


def test_a_state_of_another_shape_is_refused_by_name():
    net, other = nchl.NcHL([3, 2], population=2), nchl.NcHL([3, 2], population=2)
    net.step(torch.zeros(2, 3))
    state = net.state_dict()
    state["activations_0"] = torch.zeros(2, 4)
    with pytest.raises(RuntimeError, match=r"activations_0: .* of shape \(2, \[batch\], 3\), the state's of shape \(2, 4\)"):
        other.load_state_dict(state)


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_weights_are_drawn_where_the_generator_is(device):
    """Whatever device a user has made the default one."""
    for name in initial.NAMES:
        if name != initial.COEVOLVED:
            expected = initial.draw(name, (2, 3), torch.Generator().manual_seed(0))
            with torch.device(device):
                drawn = initial.draw(name, (2, 3), torch.Generator("cpu").manual_seed(0))
            assert torch.equal(drawn, expected)


@pytest.mark.parametrize("incoming", range(1, 6))
def test_sparse_weights_cut_no_unit_off(incoming):
    weight = initial.draw("sparse", (50, incoming), torch.Generator())
    assert (weight.count_nonzero(dim=1) == 1).all()


@pytest.mark.parametrize(("action", "error", "message"), [
    (lambda: nchl.NcHL([3]), InvalidArgument, "at least two"),
    (lambda: nchl.NcHL([3, 0, 2]), InvalidArgument, "positive"),
    (lambda: nchl.NcHL([3, -1, 2]), InvalidArgument, "positive"),
    (lambda: nchl.NcHL([3, 2], population=0), InvalidArgument, "at least 1"),
    (lambda: nchl.NcHL([3, 2], initial_weights="unifrom"), UnknownName, "did you mean 'uniform'"),
    (lambda: nchl.NcHL([3, 2], normalise="l2"), UnknownName, "known are none, max, row"),
    (lambda: nchl.NcHL([3, 2], dtype=torch.float16), InvalidArgument, "float32"),
    (lambda: nchl.NcHL([3, 2], backend="fast"), UnknownName, "backend"),
    (lambda: nchl.NcHL([3, 2], backend="compiled"), InvalidArgument, "population"),
    (lambda: nchl.NcHL([3, 2]).set_hrules([0.0] * 5), ShapeError, r"\(20,\), got \(5,\)"),
    (lambda: nchl.NcHL([3, 2], population=4).set_hrules(torch.zeros(3, 20)), ShapeError, r"\(4, 20\)"),
    (lambda: nchl.NcHL([3, 2]).reset([torch.zeros(3, 2)]), ShapeError, r"\(2, 3\)"),
    (lambda: nchl.NcHL([3, 2]).reset([]), ShapeError, "expected 1 weight"),
    (lambda: nchl.NcHL([3, 2]).step(torch.zeros(4)), ShapeError, r"\(3,\)"),
    (lambda: nchl.NcHL([3, 2], population=2).step(torch.zeros(5, 3)), ShapeError, "batch"),
    (lambda: nchl.NcHL([3, 2]).step(torch.zeros(0, 3)), ShapeError, "batch"),
    (lambda: nchl.NcHL([3, 2]).half(), InvalidArgument, "float32.*float16"),
    (lambda: nchl.NcHL([3, 2]).reset([[["a", "b", "c"]] * 2]), InvalidArgument, "reset: expected numbers"),
    (lambda: check_nodes(5), InvalidArgument, "got 5"),
    (lambda: check_nodes([3, "a"]), InvalidArgument, "at least two positive"),
    (lambda: whole_number(2.5, "population", 1, "individuals"), InvalidArgument, "population: expected a whole number.*got 2.5"),
])  # fmt: skip
def test_mistakes_are_named(action, error, message):
    with pytest.raises(error, match=message):
        action()
