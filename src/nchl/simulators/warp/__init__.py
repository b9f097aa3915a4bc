"""MuJoCo on the device where the networks are: six of Gymnasium's tasks by MuJoCo Warp.

`equations` holds observations, rewards and terminations, `physics` the worlds, `simulator` puts both behind the protocol.
"""

from nchl.simulators.warp.simulator import Warp, known_ids, make, plays, problem

__all__ = ["Warp", "known_ids", "make", "plays", "problem"]
