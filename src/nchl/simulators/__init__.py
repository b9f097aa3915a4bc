"""Simulators behind one protocol: batches of environments, tensors of fixed shape on a device; see `nchl.simulators.base`.

`SIMULATORS` names them. To add one, write its module and a line in `nchl.simulators.registry`.
"""

from nchl.simulators.registry import CHOICES, SIMULATORS, Wanted, make

__all__ = ["CHOICES", "SIMULATORS", "Wanted", "make"]
