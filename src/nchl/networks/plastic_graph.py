"""`PlasticGraph`, a network of groups and edges as a torch module.

`step` equals `forward` then `update` with every back end, and an individual's results do not depend on the population.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.networks import initial
from nchl.networks.back_ends.choose import BackEnd, choose
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import check_active, check_reward, explained
from nchl.networks.graph import declare
from nchl.networks.graph.checks import evolves_biases, refuse_without_effect
from nchl.networks.graph.declare import Edge, Group, Shape
from nchl.networks.graph.lifetime import MissingReward, Waiting
from nchl.networks.graph.state import GraphState
from nchl.networks.graph.step import forward, update
from nchl.networks.graph.structure import Graph
from nchl.networks.graph.updates import EdgeUpdates
from nchl.networks.plasticity import Plasticity
from nchl.networks.user.copies import generator_of, has_own_code, with_genome_of
from nchl.rules import Rule
from nchl.rules.convolution.sharing import check_sharing, check_termwise

_NOTHING = Waiting()


class PlasticGraph(GraphState):
    """Groups of neurons and edges of weights between them, moved by local rules while the network acts.

    Initial weights are drawn from the network's own generator, which has the same seed in every process.
    `torch.manual_seed` does not change them; for other weights give `generator=torch.Generator().manual_seed(SEED)`.

    Args:
        groups: name -> number of neurons, (channels, height, width), or `nchl.Group`; the first is the observation, the last the
            output. Or a checked `Graph`, then without `edges`.
        edges: `nchl.Edge`s, or tuples (pre, post) or (pre, post, delay); weights are in their order.
        rule: of the edges without one: `"nchl"`, `"hl"`, `"static"`, `"FILE.py:NAME"`, a `Rule` or a function.
        population: number of individuals, or None for one without the axis.
        initial_weights: a name of `nchl.networks.initial`; `"coevolved"` puts them at the genome's end.
        normalise: None, `"max"`, `"row"`, `"zscore"` or `"clip:C"`: normalisation of an edge's weights after each change.
        average: None, `"mean:M"` or `"ema:ALPHA"`: rules use averages of activations.
        every: steps from one change of the weights to the next.
        trace: decay of an eligibility trace of each connection, or None.
        modulate: None, `"reward"` or `"advantage:BETA"`: the factor of changes.
        sharing: aggregate over the connections of a kernel element: `"max"`, `"min"`, `"median"` or `"mean"`.
        termwise: aggregate each term of the rule separately, which is cheaper (rules `"nchl"` and `"hl"` only).
        differentiable: outputs have gradients with respect to the genome and the weights given to `reset`.
        dtype: torch.float32 or torch.float64; None: torch's default.
        device: of all tensors.
        generator: CPU generator of the initial weights.
        backend: `"auto"`, `"eager"` or `"compiled"`; a rule that torch cannot compile runs eagerly in any case, with a line in `notes`.
        biases: `"constant"` keeps the biases of modules; `"evolve"` puts biases at the very end of the genome.

    Raises:
        InvalidArgument: a value out of its range; the message names it.
    """

    @explained()
    def __init__(
        self,
        groups: Mapping[str, Shape | Group] | Graph,
        edges: Iterable[Edge | Sequence[Any]] | None = None,
        rule: str | Rule | Callable[..., Any] = "nchl",
        *,
        population: int | None = None,
        initial_weights: str = initial.DEFAULT,
        normalise: str | None = None,
        average: str | None = None,
        every: int = 1,
        trace: float | None = None,
        modulate: str | None = None,
        sharing: str = "max",
        termwise: bool = False,
        differentiable: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        backend: str = "auto",
        biases: str = "constant",
    ) -> None:
        if isinstance(groups, Graph) == (edges is not None):
            raise InvalidArgument(
                "PlasticGraph: expected groups by name and edges, for example {'input': 4, 'output': 2}, [('input', 'output')]"
            )
        graph = groups if isinstance(groups, Graph) else declare.graph(groups, edges or (), rule)
        plasticity = Plasticity.of(average=average, every=every, trace=trace, modulate=modulate, normalise=normalise)
        self.sharing, self.termwise, self.differentiable = check_sharing(sharing), termwise, differentiable
        if termwise:
            for edge in graph.plastic:
                check_termwise(edge.rule)
        refuse_without_effect(graph, plasticity, sharing, termwise)
        super().__init__(
            graph,
            plasticity,
            initial_weights=initial.check(initial_weights),
            evolve_biases=evolves_biases(biases, graph),
            population=population,
            dtype=dtype,
            device=device,
            generator=generator,
        )
        self._updates = EdgeUpdates(graph, self.sharing, termwise)
        self._waiting = Waiting(False, self.keeps), Waiting(True, self.keeps)  # updates without a reward, by `applies`
        if graph.uses_reward and plasticity.modulate is not None:
            self.notes.append(
                "the reward enters twice: the rule uses it, and modulate multiplies the rule's change by it; leave one of them out?"
            )
        self._take(choose(self, backend, population))
        self._genome_changed()
        self.reset()

    @property
    def needs_reward(self) -> bool:
        """Whether `update` needs the reward, for modulation or for a rule."""
        return self.plasticity.modulate is not None or self.graph.uses_reward

    @property
    def rule(self) -> Rule | None:
        """The rule of the plastic edges if all have the same; None for a static network or several rules."""
        rules = {edge.rule for edge in self.graph.plastic}
        return next(iter(rules)) if len(rules) == 1 else None

    @property
    def normalise(self) -> str | None:
        """The normalisation after a change, as it was given, or None."""
        return self.plasticity.words().get("normalise")

    @property
    def keeps(self) -> bool:
        """Whether updates change traces or the states of rules."""
        return self.plasticity.trace is not None or self.graph.has_memory

    def populate(self, population: int | None, **keywords: Any) -> PlasticNetwork:
        """A network like this one for another number of individuals; see `PlasticNetwork.populate`."""
        if has_own_code(self):
            return super().populate(population, **keywords)
        made = PlasticGraph(self.graph, population=population, **{"generator": generator_of(self), **self.settings(), **keywords})
        made.load_constants(self.constants())
        return with_genome_of(self, made)

    def settings(self) -> dict[str, Any]:
        """The keywords of a network like this one, except for its graph and population."""
        return {
            "initial_weights": self.initial_weights,
            "sharing": self.sharing,
            "termwise": self.termwise,
            "differentiable": self.differentiable,
            "dtype": self.dtype,
            "device": self.device,
            "backend": self._back_end.asked,
            "biases": "evolve" if self.evolve_biases else "constant",
            **self.plasticity.words(),
        }

    def backend_for(self, population: int) -> str:
        """See `PlasticNetwork.backend_for`."""
        return choose(self, self._back_end.asked, population).name

    def describe(self) -> str:
        """A table of neurons, connections, free weights and biases by edge."""
        return self.graph.describe(evolve_biases=self.evolve_biases)

    def forward(self, x: Shaped[Tensor, "*observations"]) -> Shaped[Tensor, "*outputs"]:
        """Outputs for the observations `x`, `input_shape` with the population in front and, behind it, a batch if wanted.

        Raises:
            ShapeError: another shape, or another batch than that of the averages, traces or delays of this lifetime.
            OrderError: the last step still waits for its reward.
        """
        self._lifetime.begin_forward(self.needs_reward)
        with self._mode():
            self._catch_up()
            return self._back_end.forward(self, x)

    def update(self, reward: Any = None) -> None:
        """Move the weights by the rules, from the activations of the last `forward` or `step`; over a batch, changes are averaged.

        Args:
            reward: the reward of that step's action, a number or `(population,)`. Ignored by a network that needs none.

        Raises:
            OrderError: there was no `forward` in this lifetime.
            InvalidArgument: the network needs a reward and got none.
        """
        if not self._lifetime.steps:
            raise self._order_error()
        with self._mode():
            if not self.needs_reward:
                self._catch_up()
            waiting = self._due(reward)
            self._lifetime.waiting = self._lifetime.frozen = False
            self._back_end.move(self, waiting)

    def step(
        self, x: Shaped[Tensor, "*observations"], active: Bool[Tensor, " population"] | None = None, *, reward: Any = None
    ) -> Shaped[Tensor, "*outputs"]:
        """`forward`, then `update`. With a reward it is first the last step's update, then `forward`; see `PlasticNetwork.step`."""
        with self._mode():
            active, lifetime = check_active(active, self.population), self._lifetime
            due = lifetime.waiting if reward is None else lifetime.takes_reward(self.needs_reward)
            if due and (self.needs_reward or (self._remembers and not self._surely_as_before(x))):
                # An error comes before the last step's update, which a second attempt would repeat.
                x, batched = self._observe(x)
                self._refuse_other_batch(x.shape[len(self.lead)] if batched else 1)
            return self._back_end.step(self, x, self._due(reward) if due else _NOTHING, active)

    def _surely_as_before(self, x: Any) -> bool:
        """Whether an observation is without a batch, as that of the last step was, by a look that costs nothing."""
        return not self._lifetime.batched and isinstance(x, Tensor) and x.ndim == len(self.lead) + len(self.input_shape)

    def _act(self, x: Tensor) -> Tensor:
        """`forward` by the functions of `graph.step`, for `x (individuals, batch, *observation)`."""
        self._make_room(x.shape[1])
        made = forward(self.graph, self.elementwise, self.biases, self.plasticity, self.state, x, self._count())
        self._keep(made)
        self._lifetime.steps += 1
        return made[f"activations_{len(self.graph.groups) - 1}"]

    def _move(self, waiting: Waiting, rows: Tensor | None = None) -> None:
        """An update by the functions of `graph.step`, of some individuals or all."""
        if not waiting.any:
            return
        state, parameters, reward, gain = self.state, self._rule_numbers, waiting.reward, waiting.gain
        if rows is not None:
            state = {key: value[rows] for key, value in state.items()}
            parameters = parameters.of_rows(rows)
            reward, gain = (None if t is None else t[rows] for t in (reward, gain))
        change = self._updates.change(parameters, reward, whole=rows is None)
        made = update(self.graph, self.plasticity, state, change, gain, applies=waiting.applies)
        if rows is None:
            self._keep(made)
        else:
            for key, value in made.items():
                self.get_buffer(key)[rows] = value

    def _count(self) -> int:
        """Number of activations in a mean after the next forward."""
        return min(self._lifetime.steps + 1, max(self.plasticity.window, 1))

    def _take(self, back_end: BackEnd) -> None:
        self._back_end, self.backend = back_end, back_end.name
        self.notes.extend(back_end.notes)

    def _due(self, reward: Any) -> Waiting:
        """The update of the last step, given its reward."""
        applies = self.plasticity.applies(self._lifetime.steps - 1)
        if not self.needs_reward:
            return self._waiting[applies]
        earned = self._rewards(reward)
        gain = earned if self.plasticity.modulate else None
        if self.plasticity.modulate == "advantage":
            gain = earned - self.get_buffer("baseline")
            self._buffers["baseline"] = self.get_buffer("baseline") + self.plasticity.beta * gain
        return Waiting(applies, self.keeps, gain, earned if self.graph.uses_reward else None)

    def _catch_up(self) -> None:
        """See `GraphState._catch_up`."""
        with self._mode():
            if self._lifetime.waiting and not self.needs_reward:
                self._lifetime.waiting = False
                self._back_end.move(self, self._due(None))
            self._back_end.settle()

    def _rewards(self, reward: Any) -> Tensor:
        if reward is None:
            why = f"modulate={self.plasticity.words().get('modulate')!r}" if self.plasticity.modulate else "its rule"
            raise MissingReward(why)
        return check_reward(reward, self.lead, self.genome)

    def finite(self, rows: Tensor) -> Bool[Tensor, " k"]:
        """See `PlasticNetwork.finite`; a waiting update is done for these individuals alone, whose lifetime ends here."""
        rows = rows.to(self.device).long()
        with self._mode():
            if self._lifetime.waiting and not self.needs_reward:
                self._back_end.move(self, self._due(None), rows)
        found = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        for weight in self._stored_weights:
            whole = weight.view(self._people, -1)
            all_rows = len(rows) == self._people  # avoids a copy of all weights
            found &= torch.isfinite(whole).all(1)[rows] if all_rows else torch.isfinite(whole[rows]).all(1)
        return found

    def _outputs(self, y: Tensor, batched: bool) -> Tensor:
        self._lifetime.batched = batched
        batch = (y.shape[1],) if batched else ()
        return y.reshape(*self.lead, *batch, *self.graph.output_shape).clone()

    def _mode(self) -> contextlib.AbstractContextManager[Any]:
        """The mode of autograd: off, unless the network is differentiable."""
        if self.differentiable:
            return contextlib.nullcontext()
        # The kept tensors outlive an inference mode and are written to outside of it.
        return _outside_inference() if torch.is_inference_mode_enabled() else torch.no_grad()

    def extra_repr(self) -> str:
        """The text of `print(network)`."""
        groups = ", ".join(f"{group.name} {'x'.join(map(str, group.shape))}" for group in self.graph.groups)
        rules = sorted({edge.rule.name for edge in self.graph.plastic if edge.rule}) or ["static"]
        settings = "".join(f", {name}={value}" for name, value in self.plasticity.words().items())
        return (
            f"{groups}; {len(self.graph.weighted)} edges, rule={'+'.join(rules)}{settings}, population={self.population}, "
            f"nparams={self.nparams}, backend={self.backend}"
        )


@contextlib.contextmanager
def _outside_inference() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad():
        yield
