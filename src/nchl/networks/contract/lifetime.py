"""Checks of a network's lifetimes: outputs, `reset`, `step`, weights, randomness, constants and copies."""

from __future__ import annotations

import copy
import io
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nchl.errors import NchlError, OrderError
from nchl.networks.base import PlasticNetwork
from nchl.networks.contract.trial import Trial, begin, live, same
from nchl.seeded import seeded


def check_outputs(trial: Trial) -> None:
    """Outputs have shape, precision and range, and memory of their own; observations are copied; order and sizes are checked."""
    net = copy.deepcopy(trial.net)
    shape = (*trial.net.lead, net.output_size)
    begin(net, trial.genome(1))
    try:
        net.update(trial.reward(net, 0))
    except OrderError:
        pass
    except Exception as error:
        trial.say("update before forward", "an OrderError", type(error).__name__, "raise self._order_error() where there was no forward")
    else:
        trial.say("update before forward", "an OrderError", "no error", "raise self._order_error() where there was no forward since reset")
    begin(net, trial.genome(1))
    y = net.forward(trial.observation(0))
    if not isinstance(y, Tensor) or tuple(y.shape) != shape:
        got = str(tuple(y.shape)) if isinstance(y, Tensor) else type(y).__name__
        trial.say("forward", f"a tensor of shape {shape} (output_size is {net.output_size})", got, "return one number for each output")
        return
    if y.dtype != net.dtype:
        trial.say("forward", f"outputs of {net.dtype}", str(y.dtype), "compute in self.dtype; self._observe(x) gives it")
    if not bool(torch.isfinite(y).all()):
        trial.say("forward", "finite outputs", f"{int((~torch.isfinite(y)).sum())} that are not", "look at what divides or overflows")
    elif net.output_bounded and float(y.detach().abs().max()) > 1:
        trial.say(
            "output_bounded", "outputs in [-1, 1]", f"{float(y.detach().abs().max()):g}", "pass output_bounded=False to super().__init__"
        )
    kept = y.clone()
    net.update(trial.reward(net, 0))
    net.forward(trial.observation(1))
    if not torch.equal(y, kept):
        trial.say("forward", "outputs that stay as they were given", "numbers that the next step changed", "return a copy: y.clone()")
    _check_copied_observation(trial, net)
    wrong = torch.zeros(*trial.net.lead, *net.input_shape[:-1], net.input_shape[-1] + 1, dtype=net.dtype, device=net.device)
    try:
        net.forward(wrong)
    except Exception:
        return
    trial.say(
        "forward", f"an error for an observation of shape {tuple(wrong.shape)}", "no error", "begin with self._observe(x), which checks it"
    )


def _check_copied_observation(trial: Trial, net: PlasticNetwork) -> None:
    """Observations are copied, because simulators write the next one into the same memory before the update."""
    made = []
    for spoil in (False, True):
        begin(net, trial.genome(1))
        seen = trial.observation(0)
        net.forward(seen)
        if spoil:
            seen.fill_(7.0)
        net.update(trial.reward(net, 0))
        made.append([weight.clone() for weight in net.weights] + [net.forward(trial.observation(1)).clone()])
    if not same(made[0], made[1]):
        trial.say(
            "update", "the observation as it was at forward", "what was written into its memory since", "keep a copy: self._observe(x)"
        )


def check_life(trial: Trial) -> None:
    """`reset` repeats a lifetime; `step` is `forward` and `update`; `plastic = False` keeps the weights; `weights` is a list."""
    net = copy.deepcopy(trial.net)
    begin(net, trial.genome(1))
    if not isinstance(net.weights, list) or not all(isinstance(weight, Tensor) for weight in net.weights):
        trial.say("weights", "a list of tensors", type(net.weights).__name__, "return [self.w, ...] from the property weights")
        return
    expected = f"shape ({', '.join([*map(str, net.lead), 'out', 'in'])})"
    for k, weight in enumerate(net.weights):
        if tuple(weight.shape[: len(net.lead)]) != net.lead or weight.ndim < len(net.lead) + 2:
            trial.say(f"weights[{k}]", expected, str(tuple(weight.shape)), "return (out, in)")
    _check_initial_weights(trial, net)
    begin(net, trial.genome(1))
    first = live(trial, net)
    begin(net, trial.genome(1))
    if not same(live(trial, net), first):
        trial.say(
            "reset",
            "the same lifetime again",
            "another one",
            "let reset put back everything that a step changes, and draw nothing in a step",
        )
    begin(net, trial.genome(1))
    # A fused step may round differently.
    tolerance = None if net.backend == "eager" else 1e-10 if net.dtype == torch.float64 else 1e-5
    if not same(live(trial, net, together=False), first, tolerance):
        trial.say("step", "forward(x), then update(reward)", "other numbers", "leave step to PlasticNetwork, or make the two equal")
    begin(net, trial.genome(1))
    other = copy.deepcopy(net)
    if not same(live(trial, other), live(trial, net)):
        trial.say(
            "copy.deepcopy", "a copy that goes on as the network does", "another lifetime", "keep state in tensors of the network's own"
        )
    _check_frozen(trial, net)
    if net.needs_reward:
        begin(net, trial.genome(1))
        net.forward(trial.observation(0))
        try:
            net.update()
        except NchlError:
            return
        trial.say(
            "needs_reward", "an error for update() without a reward", "no error", "raise nchl.errors.InvalidArgument, or return False"
        )


def _check_initial_weights(trial: Trial, net: PlasticNetwork) -> None:
    drawn: Any = net.draw_weights(torch.Generator().manual_seed(5))
    if not isinstance(drawn, list):
        trial.say("draw_weights", "a list of tensors", type(drawn).__name__, "return [tensor, ...], or [] where nothing is drawn")
        return
    again = net.draw_weights(torch.Generator().manual_seed(5))
    if not same(drawn, again):
        trial.say("draw_weights", "the same weights from the same generator", "others", "draw with generator=generator alone")
    if not drawn:
        return
    net.reset(drawn)
    held = [weight.clone() for weight in net.weights]
    if len(held) == len(drawn) and not same(held, [weight.expand_as(own) for weight, own in zip(drawn, held, strict=True)]):
        trial.say("reset", "the weights that it was given", "others", "copy the given weights into self.weights")
    for weight in drawn:
        weight.add_(1)
    if not same(held, net.weights):
        trial.say("reset", "a copy of the given weights", "the same memory", "copy them: self.w.copy_(weights[0])")


def _check_frozen(trial: Trial, net: PlasticNetwork) -> None:
    plastic = net.plastic
    begin(net, trial.genome(1))
    before = [weight.clone() for weight in net.weights]
    net.plastic = False
    net.step(trial.observation(0))
    moved = not same(before, net.weights)
    net.plastic = plastic
    if moved:
        trial.say("plastic", "weights that stay where it is False", "weights that moved", "let step update only `if self.plastic`")


def check_chance(trial: Trial) -> None:
    """No result depends on a global generator, and those of torch and numpy are not used."""

    def states() -> dict[str, bytes]:
        # Python's generator is also used by tools that check types; for it, only dependence is checked.
        return {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": repr(np.random.get_state()).encode()}  # noqa: NPY002

    def born() -> list[Tensor]:
        net = copy.deepcopy(trial.net)
        begin(net, trial.genome(1))
        made = live(trial, net)
        net.reset()
        return made + [weight.clone() for weight in net.weights]

    before = states()
    born()
    drawn = [name for name, state in states().items() if state != before[name]]
    lives = []
    for seed in (1, 2):
        with seeded(seed):
            lives.append(born())
    write = "draw with generator=self._generator in reset, and nothing in a step"
    if drawn:
        trial.say("randomness", "no global generator to be used", f"draws from that of {' and '.join(drawn)}", write)
    if not same(lives[0], lives[1]):
        trial.say("randomness", "the same lifetime whatever the global generators hold", "another one", write)


def check_constants(trial: Trial) -> None:
    """`load_constants` changes the tensors of `constants`."""
    net = copy.deepcopy(trial.net)
    held = {name: tensor.clone() for name, tensor in net.constants().items()}
    net.load_constants({name: tensor + 1 for name, tensor in held.items()})
    for name, tensor in net.constants().items():
        if not torch.equal(tensor, held[name] + 1):
            trial.say(
                f"constants()[{name!r}]", "what load_constants was given", "other numbers", "return the tensors themselves, no copies"
            )


def check_pickling(trial: Trial) -> None:
    """A network can be pickled, if its class can be found by name."""
    kind = type(trial.net)
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not kind:  # a class of a function or a notebook: pickle looks classes up by name
        return
    with trial.calling("pickle", "keep generators, functions and modules out of the network's attributes, or write __getstate__"):
        torch.save(trial.net, io.BytesIO())
