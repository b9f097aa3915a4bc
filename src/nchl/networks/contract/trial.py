"""`Trial`, a network under check, and the checks of attributes and `set_hrules`.

Each finding states the expected behaviour, the observed one, and the code to write. `nchl.testing.check_network` runs all checks; runs
and workers check a user's class with `findings(net, quick=True)` before evolution begins. Checks that depend on a failed one are skipped.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nchl.errors import NchlError
from nchl.genome import Layout
from nchl.networks.base import PlasticNetwork

STEPS = 3


@dataclass
class Trial:
    """A network under check, and the findings so far.

    Attributes:
        net: the user's network; the checks use copies of it.
        found: the findings, one line each.
    """

    net: PlasticNetwork
    found: list[str] = field(default_factory=list)

    def say(self, what: str, expected: str, got: str, write: str) -> None:
        """Add a finding."""
        self.found.append(f"{what}: expected {expected}, got {got}; {write}")

    @contextlib.contextmanager
    def calling(self, what: str, write: str) -> Iterator[None]:
        """Turn an exception of the user's code into a finding."""
        try:
            yield
        except Exception as error:
            self.say(what, "no exception", f"{type(error).__name__}: {str(error)[:300]}", write)

    def numbers(self, *shape: int, seed: int, scale: float = 1.0) -> Tensor:
        """Normally distributed numbers in the network's precision, the same for the same seed."""
        drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
        return drawn.to(dtype=self.net.dtype, device=self.net.device)

    def genome(self, seed: int) -> Tensor:
        """A genome for each individual."""
        return self.numbers(*self.net.lead, self.net.nparams, seed=seed, scale=0.3)

    def observation(self, step: int) -> Tensor:
        """The observations of a step."""
        return self.numbers(*self.net.lead, *self.net.input_shape, seed=1000 + step)

    def reward(self, net: PlasticNetwork, step: int) -> float | None:
        """The reward of a step's action, for networks that need one."""
        return (0.5, -1.0, 2.0)[step % 3] if net.needs_reward else None


def begin(net: PlasticNetwork, genome: Tensor, seed: int = 1) -> None:
    """Set the genome and begin a lifetime with initial weights from a seed."""
    net.set_hrules(genome)
    drawn = net.draw_weights(torch.Generator().manual_seed(seed))
    if drawn:
        net.reset(drawn)
    else:
        net.reset()


def live(trial: Trial, net: PlasticNetwork, steps: int = STEPS, *, together: bool = True) -> list[Tensor]:
    """The outputs of a few steps and the weights after them; by `step`, or by `forward` and `update`."""
    outputs = []
    for step in range(steps):
        if together:
            earned = trial.reward(net, step - 1) if step else None
            outputs.append(net.step(trial.observation(step), reward=earned).clone())
        else:
            outputs.append(net.forward(trial.observation(step)).clone())
            net.update(trial.reward(net, step))
    if together and net.needs_reward:
        net.update(trial.reward(net, steps - 1))
    return outputs + [weight.clone() for weight in net.weights]


def same(some: list[Tensor], others: list[Tensor], tolerance: float | None = None) -> bool:
    """Whether tensors are equal, bit by bit or within a tolerance."""
    if len(some) != len(others) or any(a.shape != b.shape for a, b in zip(some, others, strict=True)):
        return False
    if tolerance is None:
        return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(some, others, strict=True))


def _is_size(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


# Attribute -> a check of its value, the expected value, the code to write.
_ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "layout": (lambda v: isinstance(v, Layout), "a nchl.genome.Layout", "pass the layout to super().__init__(layout, ...)"),
    "population": (lambda v: v is None or _is_size(v), "None or a whole number", "leave it as super().__init__ sets it"),
    "input_shape": (
        lambda v: isinstance(v, tuple) and bool(v) and all(map(_is_size, v)),
        "a tuple of sizes, for example (4,)",
        "pass input_shape=(n,) or (channels, height, width) to super().__init__",
    ),
    "output_size": (_is_size, "a whole number of at least 1", "pass output_size=N to super().__init__"),
    "output_bounded": (lambda v: isinstance(v, bool), "True or False", "pass output_bounded=True to super().__init__ if tanh comes last"),
    "weights_per_individual": (lambda v: _is_size(v, 0), "a whole number", "pass weights_per_individual=N to super().__init__"),
    "backend": (lambda v: v in ("eager", "compiled"), "'eager' or 'compiled'", "leave it as super().__init__ sets it"),
    "plastic": (lambda v: isinstance(v, bool), "True or False", "leave it as super().__init__ sets it"),
    "needs_reward": (lambda v: isinstance(v, bool), "True or False", "return a bool from the property needs_reward"),
    "notes": (
        lambda v: isinstance(v, list) and all(isinstance(line, str) for line in v),
        "a list of texts",
        "append lines to self.notes",
    ),
    "genome": (lambda v: isinstance(v, Tensor), "a tensor", "call super().__init__(layout, ...), which registers it"),
}


def check_attributes(trial: Trial) -> None:
    """The attributes of a network."""
    net = trial.net
    for name, (fits, expected, write) in _ATTRIBUTES.items():
        try:
            value = getattr(net, name)
        except Exception as error:
            trial.say(name, expected, f"{type(error).__name__}: {error}", write)
            continue
        if not fits(value):
            trial.say(name, expected, repr(value)[:100], write)
    if trial.found:
        return
    if net.nparams != net.layout.size:
        trial.say("nparams", f"the layout's {net.layout.size} numbers", str(net.nparams), "leave nparams to PlasticNetwork")
    elif tuple(net.genome.shape) != (*trial.net.lead, net.nparams):
        trial.say("genome", f"shape {(*trial.net.lead, net.nparams)}", str(tuple(net.genome.shape)), "leave the buffer to PlasticNetwork")
    elif "genome" not in dict(net.named_buffers()):
        trial.say("genome", "a buffer of the module", "none of that name", "leave self.genome to PlasticNetwork, which registers it")


def check_rules(trial: Trial) -> None:
    """`set_hrules` replaces the genome, and refuses what is not finite or of another length."""
    net = copy.deepcopy(trial.net)
    first, second = trial.genome(1), trial.genome(2)
    with trial.calling("set_hrules", f"take a vector of {net.nparams} finite numbers"):
        net.set_hrules(first)
        net.set_hrules(second)
        if not torch.equal(net.genome, second):
            trial.say("set_hrules", "the second vector to replace the first", "another genome", "call super().set_hrules(vector)")
        for bad, what in (
            (torch.full_like(second, torch.nan), "numbers that are not finite"),
            (second[..., 1:], "a vector that is too short"),
        ):
            try:
                net.set_hrules(bad)
            except NchlError:
                if not torch.equal(net.genome, second):
                    trial.say("set_hrules", "an unchanged genome after a refusal", "another one", "call super().set_hrules(vector) first")
            else:
                trial.say("set_hrules", f"InvalidArgument for {what}", "no error", "call super().set_hrules(vector), which checks it")
                net.set_hrules(second)
    with trial.calling("set_hrules, then a lifetime", "read self.genome, or recompute what is derived from it in _genome_changed"):
        fresh = copy.deepcopy(trial.net)
        begin(fresh, second)
        begin(net, first)
        live(trial, net)
        begin(net, second)
        if not same(live(trial, net), live(trial, fresh)):
            trial.say(
                "set_hrules",
                "the lifetime of the genome that was set last",
                "another one",
                "recompute what is derived from self.genome in _genome_changed",
            )
