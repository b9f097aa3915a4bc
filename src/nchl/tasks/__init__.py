"""Tasks: a simulator, and what stands between it and a network.

    task = nchl.tasks.make("HalfCheetah-v5")
    task.observation_shape, task.action_size

`known` lists the tasks that are looked after here; any other id of EnvPool or Gymnasium works too.
"""

from nchl.simulators.described import TaskInfo, known
from nchl.tasks.early_stop import EarlyStop
from nchl.tasks.fingerprint import fingerprint
from nchl.tasks.registry import make
from nchl.tasks.task import Task

__all__ = ["EarlyStop", "Task", "TaskInfo", "fingerprint", "known", "make"]
