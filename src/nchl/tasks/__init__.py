"""Simulators behind one protocol: P individuals, one life each, only the living are stepped.

    task = nchl.tasks.make("HalfCheetah-v5")
    task.observation_shape, task.action_size

`known` lists the tasks that are looked after here; any other id of EnvPool or Gymnasium works too.
"""

from nchl.tasks.base import EarlyStop, Lives, Simulator, Start, Step
from nchl.tasks.fingerprint import fingerprint
from nchl.tasks.registry import TaskInfo, known, make
from nchl.tasks.task import Task

__all__ = ["EarlyStop", "Lives", "Simulator", "Start", "Step", "Task", "TaskInfo", "fingerprint", "known", "make"]
