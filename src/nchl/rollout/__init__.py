"""(network, task, seeds) -> fitness: individuals side by side, one episode each; those that are finished cost nothing."""

from nchl.rollout.lanes import LANES, Lanes
from nchl.rollout.play import Recorder
from nchl.rollout.scores import Rollout, evaluate, rollout
from nchl.rollout.statistics import Accumulator, ObservationStatistics, ObservationSums

__all__ = ["LANES", "Accumulator", "Lanes", "ObservationStatistics", "ObservationSums", "Recorder", "Rollout", "evaluate", "rollout"]
