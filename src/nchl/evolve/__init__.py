"""The evolution loop: an iterator over generations, for the command line and for notebooks."""

from nchl.evolve.loop import CONSTANT as CONSTANT
from nchl.evolve.loop import Evolution as Evolution
from nchl.evolve.records import TARGET_EPISODES as TARGET_EPISODES
from nchl.evolve.records import Best as Best
from nchl.evolve.records import Generation as Generation
from nchl.evolve.records import Limits as Limits
