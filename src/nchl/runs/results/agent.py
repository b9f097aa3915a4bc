"""`Agent`: a network with the normalisation of its observations and the mapping of its actions, for a loop of your own.

Its attributes are listed here, and no other: a name that the agent passed on unseen would leave observations and actions unmapped, or set
an attribute that nothing reads. `agent.network` is the network itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nchl.errors import InvalidArgument, NchlError, OrderError, UnknownAttribute, nearest
from nchl.genome import Layout
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import Numbers
from nchl.networks.graph.lifetime import MissingReward
from nchl.rollout import ObservationStatistics
from nchl.runs.results.agent_inputs import UNCHANGED, number, refuse_not_finite
from nchl.simulators.host import tensor_of, type_of_actions
from nchl.tasks import Task

_SETTABLE = ("plastic", "network", "statistics", "_task", "_source")


class Agent:
    """A network with the normalisation of its observations and the mapping of its actions, as `nchl.load` makes it.

        agent, task = nchl.load("runs/first")
        agent.reset()                       # before each episode
        action = agent.act(observation)     # also one update of the weights

    `copy.deepcopy(agent)` is at the same moment of its lifetime. So is an unpickled agent: a pickle holds numbers and the place of the run,
    which is read again with `nchl.load`, and no code.

    Attributes:
        network: the plastic network of one individual, with its rules set.
        statistics: the normalisation of its observations, or None.
    """

    def __init__(
        self, network: PlasticNetwork, task: Task, statistics: ObservationStatistics | None, source: Mapping[str, Any] | None = None
    ) -> None:
        self.network = network
        self.statistics = statistics
        self._task = task
        self._source = source  # the arguments of `nchl.load` that make it again; None: there are none
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin a new lifetime, with initial weights as in each episode of the evolution.

        Args:
            seed: of the initial weights; None: the next ones of the network's generator.
        """
        self.network.reset(generator=None if seed is None else torch.Generator().manual_seed(seed))

    def act(self, observation: Any, reward: float | None = None) -> Any:
        """The action for one observation, and one step of plasticity.

        Args:
            observation: of the Gymnasium environment, without any leading axis; a dict or tuple if it has parts. If the task repeats
                actions (`task.action_repeat`), the one after the last repetition.
            reward: of the last action; only a network that learns from rewards uses it. None on an episode's first step, where such a
                network refuses any other.

        Returns:
            An action for `env.step`: an integer for Discrete, an array within the bounds for Box.

        Raises:
            ShapeError: an observation of another shape than the task's.
            InvalidArgument: not numbers, numbers that are not finite, or no reward though the network needs one; the network is unchanged.
            OrderError: a reward on the first step; the network was not stepped.
            NchlError: the network's outputs are no longer finite.
        """
        raw = self._task.simulator.packing.of_one(observation)
        refuse_not_finite(raw, "finite")
        seen = self._task.map_observations(tensor_of(raw))
        if self.statistics is not None:
            seen = self.statistics.normalise(seen)
        inputs = seen[0].to(self.network.device, self.network.dtype)
        if not torch.isfinite(inputs).all():  # 1e300 is not finite in single precision
            refuse_not_finite(inputs.cpu().numpy(), "within the range of the network's precision")
        outputs = self._step(inputs, None if reward is None else number(reward)).detach().cpu()[None]
        if not torch.isfinite(outputs).all():
            raise NchlError("the network's outputs are not finite: its weights have grown beyond all bounds; reset() begins a new lifetime")
        action = self._task.map_actions(outputs, self.network.output_bounded).numpy()[0]
        dtype = type_of_actions(self._task.simulator.action_space)
        # EnvPool's spaces are of double precision, Gymnasium's of single.
        return action.astype(np.float32 if dtype == np.float64 else dtype or action.dtype, copy=False)

    def _step(self, inputs: Tensor, reward: float | None) -> Tensor:
        """The network's step. Its errors about rewards name the network's calls; the user has called `act`."""
        try:
            return self.network.step(inputs, reward=reward)
        except MissingReward as error:
            raise InvalidArgument(
                f"this network needs the reward of the last action ({error.why}), got none: call act(observation, reward), with "
                f"reward=None on the first step after each reset(); {UNCHANGED}"
            ) from error
        except OrderError as error:
            if reward is None:
                raise
            raise OrderError(
                f"act(observation, reward): expected no reward on the first step of an episode, nor after update(reward), got {reward}: "
                f"no action has earned it; write act(observation), or reward=None, on the first step after each reset(); {UNCHANGED}"
            ) from error

    def forward(self, x: Any) -> Tensor:
        """The network's own `forward`: `x` and outputs are the network's, without the maps of observations and actions; see `act`."""
        return self.network.forward(x)

    def step(self, x: Any, *, reward: float | None = None) -> Tensor:
        """The network's own `step`, without the maps of observations and actions: in a loop with an environment write `act`."""
        return self.network.step(x, reward=reward)

    def update(self, reward: float | None = None) -> None:
        """The update of an episode's last step, which waits for its reward if the network learns from rewards."""
        self.network.update(None if reward is None else number(reward))

    @property
    def plastic(self) -> bool:
        """Whether the rule is on. Set to False, the weights stay as they are: the control that shows what plasticity does."""
        return self.network.plastic

    @plastic.setter
    def plastic(self, value: bool) -> None:
        if not isinstance(value, bool | np.bool_):
            raise InvalidArgument(f"plastic: expected True or False, got {value!r}")
        self.network.plastic = bool(value)

    @property
    def weights(self) -> list[Tensor]:
        """The present weights, see `PlasticNetwork.weights`: later steps may change these tensors, `clone()` those to keep."""
        return self.network.weights

    @property
    def genome(self) -> Tensor:
        """The parameters of the rules, `(nparams,)`."""
        return self.network.genome

    @property
    def nparams(self) -> int:
        """Length of the genome."""
        return self.network.nparams

    @property
    def layout(self) -> Layout:
        """The named blocks of the genome."""
        return self.network.layout

    @property
    def rule(self) -> Any:
        """The rule of a network that has one."""
        return self.network.rule

    @property
    def normalise(self) -> Any:
        """The normalisation of the weights."""
        return self.network.normalise

    @property
    def needs_reward(self) -> bool:
        """Whether the network learns from rewards."""
        return self.network.needs_reward

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the network's input, which may differ from the observation's."""
        return self.network.input_shape

    @property
    def output_size(self) -> int:
        """Number of the network's outputs."""
        return self.network.output_size

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the network."""
        return self.network.dtype

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.network.device

    @property
    def notes(self) -> list[str]:
        """Lines for the user."""
        return self.network.notes

    def constants(self) -> dict[str, Tensor]:
        """Tensors that neither learn nor evolve, by name; see `PlasticNetwork.constants`."""
        return self.network.constants()

    def set_hrules(self, vector: Numbers) -> None:
        """Replace the genome; see `PlasticNetwork.set_hrules`."""
        self.network.set_hrules(vector)

    def state_dict(self) -> dict[str, Any]:
        """The network's `state_dict`: genome, weights and the position in the lifetime. It carries a lifetime across a pause."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the lifetime of a `state_dict` of this individual."""
        self.network.load_state_dict(state)

    def to(self, *args: Any, **keywords: Any) -> Agent:
        """Move the network to a device or to double precision, as `torch.nn.Module.to` does; returns the agent."""
        self.network.to(*args, **keywords)
        return self

    def eval(self) -> Agent:
        """As `torch.nn.Module.eval`; returns the agent. Weights go on changing: for fixed ones set `plastic = False`."""
        self.network.eval()
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTABLE:
            object.__setattr__(self, name, value)
        elif hasattr(type(self), name):
            raise UnknownAttribute(
                f"agent.{name} cannot be set; agent.set_hrules(vector) sets the genome, agent.network.reset(weights) the weights"
            )
        else:
            near = _meant(name, _SETTABLE[:3])
            raise UnknownAttribute(f"an agent has no attribute {name!r} to set{near}; set that of the network: agent.network.{name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("network", "statistics"):  # not set yet, while the agent is being copied
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if hasattr(self.network, name):
            raise UnknownAttribute(f"an agent has no attribute {name!r}, its network has: write agent.network.{name}")
        known = [each for each in dir(self) if not each.startswith("_")]
        raise UnknownAttribute(f"neither an agent nor its network, agent.network, has an attribute {name!r}{_meant(name, known)}")

    def __repr__(self) -> str:
        about = self.network.extra_repr()
        network = f"{type(self.network).__name__}({about})" if about else repr(self.network)
        seen = "observations as they are" if self.statistics is None else "normalised observations"
        return f"Agent(task={self._task.id}, {seen}, plastic={self.plastic}, network={network})"

    def __copy__(self) -> Agent:
        return self._with(self.network, self.statistics)

    def __deepcopy__(self, memo: dict[int, Any]) -> Agent:
        # The task, of which it uses the maps alone, may hold a simulator, and is shared.
        made = self._with(copy.deepcopy(self.network, memo), copy.deepcopy(self.statistics, memo))
        memo[id(self)] = made
        return made

    def _with(self, network: PlasticNetwork, statistics: ObservationStatistics | None) -> Agent:
        made = type(self).__new__(type(self))
        made.network, made.statistics, made._task, made._source = network, statistics, self._task, self._source
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is None:
            raise InvalidArgument(
                "this agent cannot be pickled, because nothing says how to make its network again: it was given as an object; keep "
                "agent.state_dict(), and give it to load_state_dict() of an agent that is made in the same way"
            )
        network = self.network
        state = {
            "network": network.state_dict(),
            "to": (network.device, network.dtype),
            "plastic": network.plastic,
            "generator": network._generator.get_state(),
            "statistics": None if self.statistics is None else self.statistics.state_dict(),
        }
        return _loaded, (dict(self._source),), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        device, dtype = state["to"]
        self.network.to(device=device, dtype=dtype).load_state_dict(state["network"])
        self.network.plastic = state["plastic"]
        self.network._generator.set_state(state["generator"])
        if self.statistics is not None and state["statistics"] is not None:
            self.statistics.load_state_dict(state["statistics"])


def _loaded(source: dict[str, Any]) -> Agent:
    """The agent of a pickle, before its state is set."""
    from nchl.runs.results.load import load

    return load(**source)[0]


def _meant(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return "" if near is None else f" (did you mean {near!r}?)"
