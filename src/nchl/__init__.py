"""Networks that rewire themselves while they act, and the evolution that finds their rules.

The names below are loaded when they are first used, so that `nchl --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nchl import rules as rules
    from nchl import testing as testing
    from nchl import vision as vision
    from nchl import zoo as zoo
    from nchl.errors import NchlError as NchlError
    from nchl.networks.base import PlasticNetwork as PlasticNetwork
    from nchl.networks.conv.from_module import from_module as from_module
    from nchl.networks.graph.declare import Edge as Edge
    from nchl.networks.graph.declare import Group as Group
    from nchl.networks.gru import StaticGRU as StaticGRU
    from nchl.networks.mlp import HL as HL
    from nchl.networks.mlp import NHCL as NHCL
    from nchl.networks.mlp import NcHL as NcHL
    from nchl.networks.mlp import PlasticMLP as PlasticMLP
    from nchl.networks.mlp import StaticMLP as StaticMLP
    from nchl.networks.plastic_graph import PlasticGraph as PlasticGraph
    from nchl.networks.weightless import WNcHL as WNcHL
    from nchl.runs.results.evaluate import evaluate as evaluate
    from nchl.runs.results.load import load as load
    from nchl.runs.search.evolution import evolution as evolution
    from nchl.runs.session.resume import resume as resume
    from nchl.runs.session.run import run as run
    from nchl.runs.settings.config import EvolveConfig as EvolveConfig
    from nchl.unroll import unroll as unroll

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOMES = {
    "Edge": "nchl.networks.graph.declare",
    "EvolveConfig": "nchl.runs.settings.config",
    "Group": "nchl.networks.graph.declare",
    "HL": "nchl.networks.mlp",
    "NHCL": "nchl.networks.mlp",
    "NcHL": "nchl.networks.mlp",
    "NchlError": "nchl.errors",
    "PlasticGraph": "nchl.networks.plastic_graph",
    "PlasticMLP": "nchl.networks.mlp",
    "PlasticNetwork": "nchl.networks.base",
    "StaticGRU": "nchl.networks.gru",
    "StaticMLP": "nchl.networks.mlp",
    "WNcHL": "nchl.networks.weightless",
    "from_module": "nchl.networks.conv.from_module",
    "unroll": "nchl.unroll",
    "evaluate": "nchl.runs.results.evaluate",
    "evolution": "nchl.runs.search.evolution",
    "load": "nchl.runs.results.load",
    "resume": "nchl.runs.session.resume",
    "run": "nchl.runs.session.run",
}
_SUBMODULES = ("rules", "networks", "tasks", "strategies", "testing", "vision", "zoo")

__all__ = [
    "HL",
    "NHCL",
    "Edge",
    "EvolveConfig",
    "Group",
    "NcHL",
    "NchlError",
    "PlasticGraph",
    "PlasticMLP",
    "PlasticNetwork",
    "StaticGRU",
    "StaticMLP",
    "WNcHL",
    "__version__",
    "evaluate",
    "evolution",
    "from_module",
    "load",
    "resume",
    "rules",
    "run",
    "testing",
    "unroll",
    "vision",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"nchl.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'nchl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_SUBMODULES})
