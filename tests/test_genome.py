from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nchl
from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.genome import Layout
from nchl.networks.mlp import mlp_graph
from nchl.rules import ABCD, NCHL

sizes = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def test_the_neuron_centric_genome_follows_the_data():
    layout = nchl.NcHL([28, 128, 64, 8]).layout
    assert [b.name for b in layout.blocks] == ["input", "hidden0", "hidden1", "output"]
    assert [b.parameters for b in layout.blocks] == [("A", "C", "D", "eta"), *[("A", "B", "C", "D", "eta")] * 2, ("B", "C", "D", "eta")]
    assert layout.size == 5 * (28 + 128 + 64 + 8) - 28 - 8
    assert layout["hidden0"] == slice(112, 752)
    assert torch.arange(layout.size)[layout["hidden0.C"]][:3].tolist() == [114, 119, 124]


def test_the_synapse_centric_genome_is_five_numbers_per_weight():
    layout = nchl.HL([3, 4, 2]).layout
    assert layout.size == 5 * (12 + 8)
    assert [b.shape for b in layout.blocks] == [(4, 3, 5), (2, 4, 5)]


@given(nodes=sizes, synaptic=st.booleans(), coevolved=st.booleans(), lead=st.lists(st.integers(1, 3), max_size=2))
@settings(max_examples=50, deadline=None)
def test_pack_and_unpack_are_each_others_inverse(nodes, synaptic, coevolved, lead):
    layout = mlp_graph(nodes, ABCD if synaptic else NCHL).layout(coevolved=coevolved)
    flat = torch.arange(layout.size * torch.Size(lead).numel(), dtype=torch.float64).reshape(*lead, layout.size)
    named = layout.unpack(flat)
    assert torch.equal(layout.pack(named), flat)
    assert all(torch.equal(a, b) for a, b in zip(layout.unpack(layout.pack(named)).values(), named.values(), strict=True))
    for block in layout.blocks:
        assert torch.equal(named[block.name].reshape(*lead, -1), flat[..., layout[block.name]])
        for index, parameter in enumerate(block.parameters):
            assert torch.equal(named[block.name][..., index].reshape(*lead, -1), flat[..., layout[f"{block.name}.{parameter}"]])


@given(nodes=sizes)
@settings(max_examples=20, deadline=None)
def test_blocks_fill_the_vector_without_gap_or_overlap(nodes):
    layout = mlp_graph(nodes, NCHL).layout(coevolved=True)
    edges = [(b.start, b.stop) for b in layout.blocks]
    assert edges[0][0] == 0
    assert edges[-1][1] == layout.size
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(edges))


def test_coevolved_weights_stand_at_the_end():
    layout = mlp_graph([3, 4, 2], NCHL).layout(coevolved=True)
    assert [b.name for b in layout.blocks][-2:] == ["weights0", "weights1"]
    assert layout.size == mlp_graph([3, 4, 2], NCHL).layout(coevolved=False).size + 12 + 8


def test_describe_names_every_block_and_the_total():
    text = nchl.NcHL([4, 10, 2]).layout.describe()
    assert "hidden0" in text
    assert "A B C D eta" in text
    assert text.splitlines()[-1].split() == ["total", "0", "74"]


def test_wrong_names_and_shapes_are_refused():
    layout = mlp_graph([2, 1], NCHL).layout(coevolved=False)
    with pytest.raises(UnknownName, match="did you mean 'input'"):
        layout["imput"]
    with pytest.raises(UnknownName, match="parameter of genome block"):
        layout["input.B"]
    with pytest.raises(ShapeError, match="12 numbers"):
        layout.unpack(torch.zeros(11))
    with pytest.raises(ShapeError, match="missing"):
        layout.pack({"input": torch.zeros(2, 4)})
    with pytest.raises(ShapeError, match="expected shape"):
        layout.pack({"input": torch.zeros(2, 3), "output": torch.zeros(1, 4)})
    for lead, words in (((3,), r"leading axes of 'input', \(2,\), got \(3,\) in \(3, 1, 4\)"), ((), r"\(2,\), got \(\) in")):
        with pytest.raises(ShapeError, match=f"block 'output': expected the {words}" if lead else words):
            layout.pack({"input": torch.zeros(2, 2, 4), "output": torch.zeros(*lead, 1, 4)})
    with pytest.raises(InvalidArgument, match="twice"):
        Layout([("a", (1,), ()), ("a", (1,), ())])
