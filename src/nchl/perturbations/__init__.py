"""Perturbations of motors, sensors, bodies, grounds and the network itself, from the start or in the middle of an episode.

from nchl.perturbations import parse
parse("motor:3=0@500")          # Motor(which=(3,), gain=0.0, at step 500)

language.py   SPEC <-> objects; meanings and units
suites.py     named lists of them, each with its source; YAML
signals.py    motors and sensors, on tensors
surgery.py    lesions and shuffles of a network's tensors
bodies.py     bodies and grounds, by MuJoCo's MjSpec
assets.py     changed bodies as files that EnvPool takes
live.py       changes in mid-episode, on Gymnasium's environments
worlds.py     changes from the start and in mid-episode, on MuJoCo Warp
worlds.py     changes from the start and in mid-episode, on MuJoCo Warp
"""

from nchl.perturbations.language import parse, parse_all
from nchl.perturbations.objects import Perturbation
from nchl.perturbations.plan import Plan, plan

__all__ = ["Perturbation", "Plan", "parse", "parse_all", "plan"]
