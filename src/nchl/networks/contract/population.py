"""Checks of a network's populations: `populate`, independent rows, `active`, `finite`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from nchl.networks.base import PlasticNetwork
from nchl.networks.contract.trial import STEPS, Trial, begin, same

_ROWS = 3
_WRITE = "compute each row from that row alone, or leave populate to PlasticNetwork"


def check_population(trial: Trial) -> None:
    """Rows of a population are independent, and each equals the single network."""
    if trial.net.population is not None:
        return
    made: Any = trial.net.populate(_ROWS)
    if not isinstance(made, PlasticNetwork):
        trial.say("populate", "a PlasticNetwork", type(made).__name__, "return one from populate(population)")
        return
    if made.population != _ROWS or made.nparams != trial.net.nparams or made.layout != trial.net.layout:
        got = f"population={made.population}, {made.nparams} numbers"
        trial.say("populate", f"population={_ROWS} and the same layout of {trial.net.nparams} numbers", got, "pass both to the constructor")
        return
    mine, theirs = trial.net.constants(), made.constants()
    if set(mine) != set(theirs) or not all(torch.equal(mine[name], theirs[name]) for name in mine):
        trial.say("populate", "the constants of the template", "others", "call made.load_constants(self.constants())")
    genomes = torch.stack([trial.numbers(trial.net.nparams, seed=10 + row, scale=0.3) for row in range(_ROWS)])
    whole = _live(trial, made, genomes, list(range(_ROWS)))
    tolerance = 1e-10 if trial.net.dtype == torch.float64 else 1e-4
    single = copy.deepcopy(trial.net)
    for row in range(_ROWS):
        alone = _live(trial, single, genomes[row], [row])
        if not same([t[row] for t in whole], alone, tolerance):
            trial.say(f"populate({_ROWS}), row {row}", "what the single network gives for that genome", "other numbers", _WRITE)
            break
    others = genomes * torch.tensor([-0.5, 1.0, 0.25], dtype=genomes.dtype, device=genomes.device).unsqueeze(-1)
    if not same([t[1] for t in _live(trial, made, others, [4, 1, 5])], [t[1] for t in whole]):
        trial.say("populate", "a row that does not depend on the others", "other numbers beside other rows", _WRITE)
    _check_active(trial, made, genomes, whole)
    _check_finite(trial, made, genomes)


def _live(trial: Trial, net: PlasticNetwork, genomes: Tensor, sees: list[int], active: Tensor | None = None) -> list[Tensor]:
    """Outputs and weights of a few steps, with the observations number `sees[k]` for individual k."""
    begin(net, genomes)
    made = []
    for step in range(STEPS):
        seen = torch.stack([trial.numbers(*trial.net.input_shape, seed=50 + 7 * step + k) for k in sees])
        earned = trial.reward(net, step - 1) if step else None
        made.append(net.step(seen if net.population is not None else seen[0], active if step else None, reward=earned).clone())
    if net.needs_reward:
        net.update(trial.reward(net, STEPS - 1))
    return made + [weight.clone() for weight in net.weights]


def _check_active(trial: Trial, net: PlasticNetwork, genomes: Tensor, whole: list[Tensor]) -> None:
    """Inactive individuals do not change the others."""
    active = torch.tensor([True, False, True], device=net.device)
    made = _live(trial, net, genomes, list(range(_ROWS)), active)
    if not all(torch.equal(a[row], b[row]) for a, b in zip(made, whole, strict=True) for row in (0, 2)):
        trial.say("step(x, active)", "active rows as without the mask", "other numbers", "let a row that is not active change no other row")
    if not all(bool(torch.isfinite(y).all()) for y in made[:STEPS]):
        trial.say("step(x, active)", "finite outputs of rows that are not active", "some that are not", "give zeros for these rows")


def _check_finite(trial: Trial, net: PlasticNetwork, genomes: Tensor) -> None:
    """`finite` is True for individuals with finite weights alone."""
    rows = torch.arange(_ROWS, device=net.device)
    begin(net, genomes)
    sound = net.finite(rows)
    if not isinstance(sound, Tensor) or sound.dtype != torch.bool or tuple(sound.shape) != (_ROWS,) or not bool(sound.all()):
        trial.say("finite", f"True for {_ROWS} individuals whose weights are finite", str(sound)[:100], "return a bool tensor, one per row")
        return
    drawn = net.draw_weights(torch.Generator().manual_seed(1))
    if not drawn:
        return
    spoilt = [torch.stack([weight, torch.full_like(weight, torch.inf), weight]) for weight in drawn]
    net.reset(spoilt)
    if net.finite(rows).tolist() != [True, False, True]:
        got = str(net.finite(rows).tolist())
        trial.say(
            "finite", "[True, False, True] where row 1 has infinite weights", got, "leave finite to PlasticNetwork, or look at each row"
        )
