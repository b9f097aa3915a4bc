"""(network, task, seeds) -> fitness: individuals side by side, one life each; those that are finished cost nothing."""

from nchl.rollout.lanes import LANES, Lanes
from nchl.rollout.play import Recorder
from nchl.rollout.scores import Rollout, evaluate, rollout
from nchl.rollout.statistics import ObservationStatistics, ObservationSums

__all__ = ["LANES", "Lanes", "ObservationStatistics", "ObservationSums", "Recorder", "Rollout", "evaluate", "rollout"]
