"""Shared updates against a loop over connections, reference vectors, and the laws that they obey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules import ABCD, NCHL, Rule, neuron_centric_conv
from nchl.rules.convolution.connections import SHARINGS
from nchl.rules.convolution.geometry import ConvGeometry
from nchl.rules.convolution.sharing import SharedLayer
from nchl.rules.kernels import program as kernels
from reference.convolution import kernel_update

# in, out, kernel, size, stride, padding, dilation, groups
GEOMETRIES = {
    "plain": (2, 3, (3, 3), (6, 5), (1, 1), (0, 0), (1, 1), 1),
    "padded": (1, 2, (3, 2), (4, 5), (1, 1), (2, 1), (1, 1), 1),
    "strided": (2, 2, (2, 3), (7, 9), (2, 3), (0, 1), (1, 1), 1),
    "dilated": (1, 2, (2, 2), (6, 7), (1, 2), (1, 0), (3, 2), 1),
    "grouped": (4, 6, (2, 2), (4, 4), (1, 1), (1, 1), (1, 1), 2),
    "unconnected": (1, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    "one position": (3, 5, (3, 4), (3, 4), (1, 1), (0, 0), (1, 1), 1),
}


def geometry_of(name: str) -> ConvGeometry:
    channels, outputs, kernel, size, stride, padding, dilation, groups = GEOMETRIES[name]
    return ConvGeometry.make(channels, outputs, kernel, size, stride=stride, padding=padding, dilation=dilation, groups=groups)


def keywords(name: str) -> dict[str, object]:
    _, _, kernel, _, stride, padding, dilation, groups = GEOMETRIES[name]
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def draw(name: str, *lead: int, batch: int = 0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    g = geometry_of(name)
    more = (*lead, batch) if batch else lead
    normal = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    size_in, size_out = (torch.Size(s).numel() for s in (g.input_shape, g.output_shape))
    return normal(*more, *g.input_shape), normal(*more, *g.output_shape), normal(*lead, size_in, 5), normal(*lead, size_out, 5)


@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_equal_to_the_loop(name: str, sharing: str, termwise: bool) -> None:
    pre, post, rules_in, rules_out = draw(name, batch=2)
    g = geometry_of(name)
    _, _, _, _, stride, padding, dilation, _ = GEOMETRIES[name]
    wanted = kernel_update(
        pre.numpy(),
        post.numpy(),
        rules_in.view(*g.input_shape, 5).numpy(),
        rules_out.view(*g.output_shape, 5).numpy(),
        g.kernel_shape,
        sharing,
        termwise,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    got = neuron_centric_conv(pre, post, rules_in, rules_out, sharing=sharing, termwise=termwise, **keywords(name))
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_the_reference_vectors(golden: Path, dtype: torch.dtype) -> None:
    close = 1e-12 if dtype == torch.float64 else 1e-5
    files = sorted(golden.glob("conv_*.npz"))
    assert len(files) == 4
    for file in files:
        arrays = np.load(file)
        g = {name: torch.as_tensor(arrays[name]).to(dtype) for name in arrays if name != "shape"}
        _, _, k, _, _, stride, padding = arrays["shape"].tolist()
        for sharing in SHARINGS:
            for termwise in (False, True):
                got = neuron_centric_conv(
                    g["pre"],
                    g["post"],
                    g["rules_in"],
                    g["rules_out"],
                    kernel_size=k,
                    stride=stride,
                    padding=padding,
                    sharing=sharing,
                    termwise=termwise,
                )
                wanted = g[f"{'termwise' if termwise else 'delta'}_{sharing}"]
                torch.testing.assert_close(got, wanted, rtol=close, atol=close, msg=f"{file.stem} {sharing} {termwise}")


@pytest.mark.parametrize("termwise", [False, True])
def test_a_population_is_its_individuals(termwise: bool) -> None:
    pre, post, rules_in, rules_out = draw("strided", 3, batch=2)
    together = neuron_centric_conv(pre, post, rules_in, rules_out, sharing="median", termwise=termwise, **keywords("strided"))
    for p in range(3):
        alone = neuron_centric_conv(pre[p], post[p], rules_in[p], rules_out[p], sharing="median", termwise=termwise, **keywords("strided"))
        torch.testing.assert_close(together[p], alone, rtol=1e-12, atol=1e-12)


def test_chunks_of_output_channels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = draw("grouped", 2)
    whole = neuron_centric_conv(*tensors, sharing="mean", **keywords("grouped"))
    monkeypatch.setattr("nchl.rules.convolution.connections._AT_ONCE", 1)
    torch.testing.assert_close(neuron_centric_conv(*tensors, sharing="mean", **keywords("grouped")), whole, rtol=0, atol=0)


def test_a_rule_of_a_user_is_shared_too() -> None:
    def oja(pre: Tensor, post: Tensor, weight: Tensor, eta_post: Tensor) -> Tensor:
        return eta_post * post * (pre - post * weight)

    g = geometry_of("plain")
    pre, post, _, rules_out = draw("plain")
    eta, kernel = rules_out[:, 4].view(g.output_shape), torch.randn(g.kernel_shape, dtype=torch.float64)
    got = SharedLayer(Rule.from_function(oja), g, "mean", lead=0).update(pre, post, kernel, ({}, {"eta": eta}, {}))[0]
    # The mean of Oja's rule over positions, by torch's own convolution arithmetic.
    patches = nn.functional.unfold(pre[None], (3, 3))[0]
    moved = torch.einsum("op,kp->ok", (eta * post).flatten(1), patches) - (eta * post * post).flatten(1).sum(1)[:, None] * kernel.flatten(1)
    torch.testing.assert_close(got, (moved / patches.shape[1]).view(g.kernel_shape), rtol=1e-12, atol=1e-12)


def test_hl_takes_a_kernel_element_for_a_synapse() -> None:
    g = geometry_of("plain")
    pre, post, _, _ = draw("plain")
    synapse = {name: torch.randn(g.kernel_shape, dtype=torch.float64) for name in ABCD.synapse}
    patches = nn.functional.unfold(pre[None], (3, 3))[0].view(1, 2, 3, 3, -1)
    after = post.flatten(1)[:, None, None, None]
    A, B, C, D, eta = (synapse[name][..., None] for name in ("A", "B", "C", "D", "eta"))
    wanted = eta * (A * patches + B * after + C * patches * after + D)
    got = SharedLayer(ABCD, g, "max", lead=0).update(pre, post, None, ({}, {}, synapse))[0]
    torch.testing.assert_close(got, wanted.amax(-1), rtol=1e-12, atol=1e-12)
    terms = [(A * patches).amax(-1), (B * after).amax(-1), (C * patches * after).amax(-1)]
    termwise = SharedLayer(ABCD, g, "max", lead=0).update_termwise(pre, post, ({}, {}, synapse))
    torch.testing.assert_close(termwise, (sum(terms) + D[..., 0]) * eta[..., 0], rtol=1e-12, atol=1e-12)


def by_name(rules: Tensor, shape: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: c.contiguous() for name, c in zip(NCHL.names, rules.unflatten(-2, shape).unbind(-1), strict=True)}


needs_kernels = pytest.mark.skipif(bool(kernels.unavailable()), reason=f"no kernels here: {kernels.unavailable()}")
LARGE = {"wide": (3, 6, (3, 3), (21, 38), (1, 1), (0, 0), (1, 1), 1), "wide, strided": (6, 8, (5, 5), (31, 31), (2, 2), (1, 2), (1, 1), 2)}


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", [*GEOMETRIES, *LARGE])
def test_kernels_are_their_torch_functions(
    name: str, sharing: str, termwise: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GEOMETRIES, name, {**GEOMETRIES, **LARGE}[name])
    g = geometry_of(name)
    pre, post, rules_in, rules_out = (t.to(dtype) for t in draw(name, 3))
    before, after = by_name(rules_in, g.input_shape), by_name(rules_out, g.output_shape)
    constant = SharedLayer(NCHL, g, sharing, lead=1).constant_terms((before, after, {})) if termwise else None
    got = torch.zeros(3, *g.kernel_shape, dtype=dtype)
    program = kernels.Program(3)
    program.move_conv(g, sharing, pre, post, before, after, got, constant)
    program.run()
    wanted = neuron_centric_conv(pre, post, rules_in, rules_out, sharing=sharing, termwise=termwise, **keywords(name))
    close = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(got, wanted, rtol=close, atol=close)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*GEOMETRIES, *LARGE])
def test_forward_kernel_is_the_convolution(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GEOMETRIES, name, {**GEOMETRIES, **LARGE}[name])
    g = geometry_of(name)
    _, _, _, _, stride, padding, dilation, groups = GEOMETRIES[name]
    x, kernel, bias = (
        torch.randn(2, 3, *g.input_shape, dtype=dtype),
        torch.randn(2, *g.kernel_shape, dtype=dtype),
        torch.randn(g.out_channels, dtype=dtype),
    )
    got = torch.empty(2, 3, *g.output_shape, dtype=dtype)
    program = kernels.Program(2, batch=3)
    program.convolve(g, x, kernel, bias, got)
    program.run()
    for p in range(2):
        wanted = nn.functional.conv2d(x[p], kernel[p], bias, stride, padding, dilation, groups)
        torch.testing.assert_close(got[p], wanted, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", [*GEOMETRIES, *LARGE])
def test_what_lasts_for_a_life_is_its_torch_function(name: str, sharing: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GEOMETRIES, name, {**GEOMETRIES, **LARGE}[name])
    g = geometry_of(name)
    _, _, rules_in, rules_out = (t.to(dtype) for t in draw(name, 3))
    before, after = by_name(rules_in, g.input_shape), by_name(rules_out, g.output_shape)
    still = (torch.zeros(3, *g.kernel_shape, dtype=dtype), torch.zeros(3, *g.kernel_shape, dtype=dtype))
    program = kernels.Program(3)
    program.still_terms(g, sharing, before, after, still)
    program.run()
    close = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(still, SharedLayer(NCHL, g, sharing, lead=1).constant_terms((before, after, {})), rtol=close, atol=close)


@needs_kernels
def test_numbers_that_could_overflow_are_left_to_torch() -> None:
    g = geometry_of("plain")
    pre, post, rules_in, rules_out = (t.float() for t in draw("plain", 3))
    rules_in[1] *= 1e30
    rules_out[1] *= 1e30
    post[2, 0, 0, 0] = torch.nan
    got = torch.zeros(3, *g.kernel_shape)
    program = kernels.Program(3)
    overflow = program.move_conv(g, "max", pre, post, by_name(rules_in, g.input_shape), by_name(rules_out, g.output_shape), got)
    program.run()
    assert overflow.tolist() == [False, True, True]
    assert not got[1:].any()
    wanted = neuron_centric_conv(pre, post, rules_in, rules_out, sharing="max", **keywords("plain"))
    torch.testing.assert_close(got[0], wanted[0], rtol=1e-5, atol=1e-5)


def test_mistakes_are_named() -> None:
    tensors = draw("plain")
    with pytest.raises(UnknownName, match="did you mean 'median'"):
        neuron_centric_conv(*tensors, kernel_size=3, sharing="medain")
    with pytest.raises(ShapeError, match=r"post: expected \(\.\.\., 3, 4, 3\).*got \(3, 4, 2\)"):
        neuron_centric_conv(tensors[0], tensors[1][..., :-1], *tensors[2:], kernel_size=3)
    with pytest.raises(ShapeError, match="rules_in"):
        neuron_centric_conv(*tensors[:2], tensors[2][:-1], tensors[3], kernel_size=3)
    with pytest.raises(InvalidArgument, match="groups=2"):
        neuron_centric_conv(*tensors, kernel_size=3, groups=2)
    with pytest.raises(InvalidArgument, match="termwise"):
        SharedLayer(Rule.from_function(lambda pre: pre), geometry_of("plain"), "max", lead=0).update_termwise(*tensors[:2], ({}, {}, {}))


@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize(
    ("pre", "post", "words"),
    [
        ((3,), (2,), r"got \(3,\) of pre, \(2,\) of post, \(2,\) of rules_in, \(2,\) of rules_out"),
        ((3,), (3,), r"\(3,\) of pre, \(3,\) of post, \(2,\) of rules_in"),
        ((4,), (2, 4), r"\(4,\) of pre, \(2,\) of post"),
        ((2, 3), (2, 4), r"\(3,\) of the batch of pre, \(4,\) of the batch of post"),
        ((2, 3, 4), (2, 4, 3), r"\(3, 4\) of the batch of pre, \(4, 3\) of the batch of post"),
    ],
)
def test_leading_axes_that_do_not_fit_are_refused(pre: tuple[int, ...], post: tuple[int, ...], words: str, termwise: bool) -> None:
    """In large layers, which are computed one individual at a time, and in small ones."""
    for channels, size in ((10, 16), (1, 4)):
        activations = torch.zeros(*pre, channels, size, size), torch.zeros(*post, 2, size - 2, size - 2)
        rules = torch.zeros(2, channels * size**2, 5), torch.zeros(2, 2 * (size - 2) ** 2, 5)
        with pytest.raises(ShapeError, match=words):
            neuron_centric_conv(*activations, *rules, kernel_size=3, termwise=termwise)


@pytest.mark.parametrize("termwise", [False, True])
@pytest.mark.parametrize(
    ("pre", "post"), [((2, 1, 4), (2, 3, 4)), ((2, 3, 4), (1, 3, 1)), ((2, 3, 4), (2, 4)), ((), (2, 5)), ((1,), (2,))], ids=str
)
def test_leading_axes_broadcast(pre: tuple[int, ...], post: tuple[int, ...], termwise: bool) -> None:
    a, b, rules_in, rules_out = draw("plain", 2)
    g = geometry_of("plain")
    generator = torch.Generator().manual_seed(1)
    a, b = (
        torch.randn(*lead, *shape, generator=generator, dtype=a.dtype) for lead, shape in ((pre, g.input_shape), (post, g.output_shape))
    )
    batch = torch.broadcast_shapes(pre[1:], post[1:])
    whole = [
        t[(slice(None),) * min(len(lead), 1) + (None,) * (len(batch) - max(len(lead) - 1, 0))].expand(2, *batch, *t.shape[-3:])
        for t, lead in ((a, pre), (b, post))
    ]
    made = neuron_centric_conv(a, b, rules_in, rules_out, termwise=termwise, **keywords("plain"))
    wanted = neuron_centric_conv(*whole, rules_in, rules_out, termwise=termwise, **keywords("plain"))
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-12)
