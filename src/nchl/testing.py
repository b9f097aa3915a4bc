"""Helpers for tests: `check_network` checks a network against the contract of `PlasticNetwork`.

def test_my_network():
    nchl.testing.check_network(MyNetwork(4, 2))
"""

from __future__ import annotations

from typing import Any

from nchl.errors import ContractError
from nchl.networks.contract.findings import findings as findings


def check_network(net: Any) -> None:
    """Check a network against the contract of `nchl.PlasticNetwork` by running it.

    The checks use copies. They cover attributes and layout; `set_hrules`, which must replace the genome and
    refuse numbers that are not finite; lifetimes, which must begin alike after `reset`, be the same by `step` as by `forward` and `update`,
    and not use global generators; outputs; weights; constants; copies; and populations made by `populate`, whose rows must be
    independent of each other and equal to the single network. `findings(net)` gives the same lines as a list.

    Args:
        net: the network, best built for one individual: populations are checked through its `populate`.

    Raises:
        ContractError: a line for each finding: what was expected, what was found, and what to write.
    """
    found = findings(net)
    if found:
        lines = "\n".join(f"- {line}" for line in found)
        raise ContractError(f"{type(net).__name__} does not keep the contract of nchl.PlasticNetwork:\n{lines}")
