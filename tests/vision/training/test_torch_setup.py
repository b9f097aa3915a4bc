"""Torch's set-up: which devices are taken, and the precision on a GPU."""

from __future__ import annotations

import pytest
import torch

from nchl.errors import InvalidArgument
from nchl.vision.training import torch_setup


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("deterministic", "allow_tf32"):  # restored after the test
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("cuda0", "cuda where torch finds one"),
        ("cuda:", "cuda where torch finds one"),
        ("cuda:x", "cuda where torch finds one"),
        ("cudagpu", "cuda where torch finds one"),
        ("meta", "cuda where torch finds one"),
        ("tpu", "cuda where torch finds one"),
        ("cuda:2", "cuda:0 to cuda:1, the GPUs that torch finds"),
        ("cuda:9", "cuda:0 to cuda:1, the GPUs that torch finds"),
    ],
)
def test_a_device_that_is_not_there_is_named(device: str, wanted: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        torch_setup.use(device, None)
    said = str(caught.value).replace(" (cuda:0, cuda:1, ...)", "")
    assert wanted in said
    assert said.endswith(f"got {device!r}")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_on_a_gpu_convolutions_are_as_precise_as_matrix_products(device: str) -> None:
    torch.backends.cudnn.allow_tf32 = True
    torch_setup.use(device, None)
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_without_a_gpu_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidArgument, match="expected --device cpu, or cuda"):
        torch_setup.use("cuda", None)
    torch_setup.use("cpu", None)
