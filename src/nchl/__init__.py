"""Networks that rewire themselves while they act, and the evolution that finds their rules.

The names below are loaded when they are first used, so that `nchl --help` does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nchl import lazy

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

_HOMES = {
    "Edge": "networks.graph.declare",
    "EvolveConfig": "runs.settings.config",
    "Group": "networks.graph.declare",
    "HL": "networks.mlp",
    "NHCL": "networks.mlp",
    "NcHL": "networks.mlp",
    "NchlError": "errors",
    "PlasticGraph": "networks.plastic_graph",
    "PlasticMLP": "networks.mlp",
    "PlasticNetwork": "networks.base",
    "StaticGRU": "networks.gru",
    "StaticMLP": "networks.mlp",
    "WNcHL": "networks.weightless",
    "from_module": "networks.conv.from_module",
    "unroll": "unroll",
    "evaluate": "runs.results.evaluate",
    "evolution": "runs.search.evolution",
    "load": "runs.results.load",
    "resume": "runs.session.resume",
    "run": "runs.session.run",
}

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

__getattr__, __dir__ = lazy.names(__name__, _HOMES, ("rules", "networks", "tasks", "strategies", "testing", "vision", "zoo"))
