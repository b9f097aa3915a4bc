"""The loop as a generator of generations, usable from a notebook as well as from the command line."""

from nchl.evolve.loop import CONSTANT as CONSTANT
from nchl.evolve.loop import TARGET_EPISODES as TARGET_EPISODES
from nchl.evolve.loop import Evolution as Evolution
from nchl.evolve.records import Best as Best
from nchl.evolve.records import Generation as Generation
from nchl.evolve.records import Limits as Limits
