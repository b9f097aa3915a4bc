"""For tests of one's own networks: `check_network` runs one and says what of the contract of `PlasticNetwork` is missing.

def test_my_network():
    nchl.testing.check_network(MyNetwork(4, 2))
"""

from __future__ import annotations

from typing import Any

from nchl.errors import ContractError
from nchl.networks.contract.findings import findings as findings


def check_network(net: Any) -> None:
    """Run a network and hold it to the contract of `nchl.PlasticNetwork`.

    It is not changed: the checks act with copies. They look at attributes and layout; `set_hrules`, which must replace the genome and
    refuse what is not finite; lifetimes, which must begin alike after `reset`, be the same by `step` as by `forward` and `update`,
    and draw from no global generator; outputs; weights; constants; copies; and populations made by `populate`, whose rows must be
    independent of each other and equal to the single network. `findings(net)` gives the same lines as a list.

    Args:
        net: the network, best built for one individual: populations are checked through its `populate`.

    Raises:
        ContractError: one line for each finding: what was expected, what came, and what to write.
    """
    found = findings(net)
    if found:
        lines = "\n".join(f"- {line}" for line in found)
        raise ContractError(f"{type(net).__name__} does not keep the contract of nchl.PlasticNetwork:\n{lines}")
