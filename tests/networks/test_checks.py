"""Arguments of users: numbers in any form are accepted, and everything else is an error that says what to write.

In a process of its own, since the tests check the types of arguments (see conftest), which users do not.
"""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import warnings
import numpy as np, torch, nchl
from nchl.errors import InvalidArgument
from torch import nn

warnings.simplefilter("error")
makers = {
    "nchl": lambda **k: nchl.NcHL([3, 2], **k),
    "fused": lambda **k: nchl.NcHL([3, 2], population=2, backend="compiled", **k),
    "static": lambda **k: nchl.StaticMLP([3, 2], **k),
    "wnchl": lambda **k: nchl.WNcHL([3, 2], **k),
    "sequential": lambda **k: nchl.from_module(nn.Sequential(nn.Linear(3, 2)), (3,), **k),
}

def refused(action, *words):
    try:
        action()
    except InvalidArgument as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(words)

for name, make in makers.items():
    net = make()
    net.set_hrules(np.linspace(-1, 1, net.nparams))
    frozen = np.array([1.0, 2.0, 3.0])
    frozen.flags.writeable = False
    expected = net.forward(torch.tensor([1.0, 2.0, 3.0]))
    for x in ([1, 2, 3], (1.0, 2.0, 3.0), np.array([3.0, 2.0, 1.0])[::-1], np.array([1, 2, 3]).astype(">f8"), frozen):
        assert torch.equal(net.forward(x), expected), name
        make().step(x)
    for x in ("abc", None, ["a", "b", "c"], [[1.0], 2.0, 3.0]):
        for take in (net.forward, net.step):
            refused(lambda: take(x), "observation: expected numbers, got " + type(x).__name__)
    for x in (1j * np.ones(3), torch.ones(3, dtype=torch.complex64)):
        refused(lambda: net.step(x), "expected real numbers, got torch.complex")
    for give in (lambda: net.reset(7), lambda: net.reset(seed=7), lambda: net.reset(np.int64(7))):
        refused(give, "reset(generator=torch.Generator().manual_seed(7))")
    refused(lambda: net.reset(seeds=7), "reset: expected weights=[...] or generator=torch.Generator(), got 'seeds'")
    net.reset(generator=torch.Generator().manual_seed(7))
    for reward in (2.0, 2, np.float32(2)):
        refused(lambda: net.step([1, 2, 3], reward), "given by name: step(x, reward=2")
    refused(lambda: make(generator=3), "expected a torch.Generator, got 3", "torch.Generator().manual_seed(3)")
    refused(lambda: make(device="foo"), "device 'foo' cannot be used here", "cpu always can")
    if not torch.cuda.is_available():
        refused(lambda: make(device="cuda"), "device 'cuda' cannot be used here", "cpu always can")
    if name in ("static", "wnchl"):
        for weights in (np.zeros((2, 3)), torch.zeros(2, 3), [torch.zeros(2, 3)], iter([])):
            refused(lambda: net.reset(weights), "reset")
        for nothing in ([], (), None):
            net.reset(nothing)
    else:
        refused(lambda: net.reset(generator=3), "expected a torch.Generator, got 3")
def own(pre, post, eta_post):
    return eta_post * pre * post

for kind in (nchl.NcHL, nchl.NHCL, nchl.HL, nchl.PlasticMLP, nchl.StaticMLP, nchl.WNcHL, nchl.StaticGRU):
    refused(lambda: kind(4, 10, 2), f"{kind.__name__}: write the sizes as a list: {kind.__name__}([4, 10, 2])")
    refused(lambda: kind([4, 10, 2], normalize="max"), f"unknown option of {kind.__name__} 'normalize': did you mean 'normalise'?")
    refused(lambda: kind(), f"{kind.__name__}: missing a required argument: 'nodes'")
    refused(lambda: kind([4, 10, 2], 3, 4, 5), f"{kind.__name__}: too many positional arguments", "write options by name")
for kind in (nchl.NcHL, nchl.HL):
    refused(lambda: kind([4, 10, 2], rule=own), kind.__name__ + " has its own rule; write nchl.PlasticMLP([4, 10, 2], rule=own)")
refused(lambda: nchl.HL([4, 2], rule="nchl"), "rule='nchl')")
refused(lambda: nchl.HL([4, 2], rule=lambda pre: pre), "rule=RULE)")
refused(lambda: nchl.StaticMLP([4, 10, 2], rule=own), "rule does not apply")
refused(lambda: nchl.PlasticGraph({"a": 4, "b": 2}, [("a", "b")], weight="max"), "unknown option of PlasticGraph 'weight'")

class Preset(nchl.NcHL):
    def __init__(self, nodes, size=3):
        super().__init__(nodes, population=size)

assert Preset([3, 2], size=4).population == 4
print("done")
"""


def test_numbers_in_any_form_are_taken_and_everything_else_is_refused_by_name() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True)
    assert ran.stdout.strip() == "done", ran.stderr
