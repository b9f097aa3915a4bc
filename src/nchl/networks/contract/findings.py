"""All checks of the contract in order, for `nchl.testing.check_network` and for runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from nchl.errors import ContractError
from nchl.networks.base import PlasticNetwork
from nchl.networks.contract import lifetime as contract_life
from nchl.networks.contract import trial as contract
from nchl.networks.contract.population import check_population
from nchl.networks.contract.trial import Trial

_QUICK: tuple[Callable[[Trial], None], ...] = (
    contract.check_rules,
    contract_life.check_outputs,
    contract_life.check_life,
    check_population,
)
_ALL = (*_QUICK, contract_life.check_chance, contract_life.check_constants, contract_life.check_pickling)


def findings(net: Any, *, quick: bool = False) -> list[str]:
    """Violations of the contract, one line each; empty if there are none.

    Args:
        net: the network.
        quick: skip the checks of randomness, constants and pickling.
    """
    if not isinstance(net, PlasticNetwork):
        got = f"the class {net.__name__} itself" if isinstance(net, type) else type(net).__name__
        return [
            f"network: expected an instance of a subclass of nchl.PlasticNetwork, got {got}; write class {_name(net)}(nchl.PlasticNetwork)"
        ]
    trial = Trial(net)
    contract.check_attributes(trial)
    if trial.found:  # the other checks depend on the attributes
        return trial.found
    with torch.set_grad_enabled(net.differentiable):
        for check in _QUICK if quick else _ALL:
            what = check.__name__.removeprefix("check_").replace("_", " ")
            with trial.calling(what, "see the docstring of nchl.PlasticNetwork"):
                check(trial)
    return list(dict.fromkeys(trial.found))


def hold(net: PlasticNetwork) -> None:
    """Refuse a user's class that violates the contract; the classes of this package are covered by tests.

    Raises:
        ContractError: the message contains the first violation, and how to list all.
    """
    if type(net).__module__.partition(".")[0] == "nchl":
        return
    found = findings(net, quick=True)
    if found:
        more = f" (and {len(found) - 1} more: nchl.testing.check_network(net) lists them)" if len(found) > 1 else ""
        raise ContractError(f"the network {type(net).__name__} cannot be evolved. {found[0]}{more}")


def _name(net: Any) -> str:
    return net.__name__ if isinstance(net, type) else type(net).__name__
