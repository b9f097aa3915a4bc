"""`net, task = nchl.load(RUN)`: a run's result for a loop of your own, or a robot.

net, task = nchl.load("runs/first")
net.reset()                         # before each episode
action = net.act(observation)       # also one update of the weights; net.act(observation, reward) if the network learns from rewards
"""

from __future__ import annotations

import os
from typing import Any

import torch

from nchl import zoo
from nchl.networks.build import build
from nchl.runs.results.agent import Agent
from nchl.runs.results.result import read_result
from nchl.runs.search.objects import Objects
from nchl.runs.settings.places import absolute
from nchl.runs.store import trust
from nchl.tasks import Task, recorded
from nchl.user_code import using
from nchl.workers.build import task_of


def load(
    run: os.PathLike[str] | str,
    which: str = "best",
    *,
    simulator: str | None = None,
    rule: str | None = None,
    network: Any = None,
    generator: torch.Generator | None = None,
) -> tuple[Agent, Task]:
    """A run's result, and its task.

    Neither the simulator nor the environment's package is needed: spaces and maps are in the run's record. `task` makes its simulator at
    the first use of it.

    Args:
        run: the run folder, "zoo:NAME", or the result of `nchl.run`.
        which: "best" (the best individual) or "centre" (of the search).
        simulator: for `task`, which is then made at once; None: the run's own.
        rule: in place of the run's own: "FILE.py:NAME".
        network: the run's, if it was begun with an object that its folder cannot hold.
        generator: of the initial weights; None: a new one, always the same.

    Raises:
        RunError: no run folder, an altered one, or no result yet.
    """
    found = read_result(run, which, with_task=simulator is not None, rule=rule, given=Objects(network=network), call="nchl.load")
    record, about = found.record, found.recipe()

    def make(with_simulator: str) -> Task:
        trust.check(found.folder.path, (about.task, *about.wrap))
        return task_of(about, with_simulator)

    if simulator is not None or record.task is None:
        task = make(about.simulator if simulator is None else simulator)
    else:
        name = str(record.task.get("simulator"))  # the one that `auto` chose
        task = recorded.from_record(record.task, about.image_size, lambda: make(name).simulator, file=found.folder.config)
    with using(about.code):
        acting = build(
            about.network,
            task.observation_shape,
            task.action_size,
            device=about.device,
            generator=generator,
            backend="eager",
            seed=about.seed,
            constants=about.constants,
            template=about.template,
        )
    found.check_length(acting)
    acting.notes += found.notes_on(acting, "none")
    acting.set_hrules(found.genome)
    individual = found.folder.individual
    where = str(found.folder.path.absolute()) if individual is None else f"{zoo.PREFIX}{individual}"
    again = {"run": where, "which": which, "simulator": simulator, "rule": None if rule is None else absolute(rule)}
    return Agent(acting, task, found.statistics(task), again if network is None else None), task
