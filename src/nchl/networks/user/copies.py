"""Populations of networks that compute one individual only: copies, stepped one by one.

An individual's results equal those of the network alone. This is slow, as a note tells the user.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nchl.errors import InvalidArgument, OrderError, ShapeError
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import Numbers, check_active, check_generator, check_weights, explained_reset, gives_weights, real_numbers

Network = TypeVar("Network", bound=PlasticNetwork)


def copied(
    template: PlasticNetwork, population: int | None, *, device: Any = None, generator: Any = None, **refused: Any
) -> PlasticNetwork:
    """Copies of a network: a population of them, or one.

    Args:
        template: a network of one individual.
        population: number of individuals, or None for one without the axis.
        device: of the copies; None: the template's.
        generator: of initial weights; None: a copy of the template's.

    Raises:
        InvalidArgument: a template that is a population, or another setting than these.
    """
    kind = type(template).__name__
    if template.population is not None:
        raise InvalidArgument(
            f"{kind}: expected a network of one individual (population=None) as a template, got population={template.population}; "
            f"build it for one, or give {kind} a populate(population) of its own"
        )
    if refused:
        raise InvalidArgument(
            f"{kind} has no populate(population) of its own: {', '.join(refused)} cannot be changed; set it where it is made"
        )
    made = Copies(template, population) if population is not None else copy.deepcopy(template)
    if generator is not None:
        made._generator = check_generator(generator)
    made.reset()
    return made if device is None else made.to(device)


def generator_of(template: PlasticNetwork) -> torch.Generator:
    """A copy of a template's generator, for its population."""
    return torch.Generator().set_state(template._generator.get_state())


def with_genome_of(template: PlasticNetwork, made: Network) -> Network:
    """Give a population the genome of its template, if that is of one individual and no part of an autograd graph."""
    if template.population is None and not template.differentiable:
        made.set_hrules(template.genome)
    return made


def has_own_code(net: PlasticNetwork) -> bool:
    """Whether a network is of a user's subclass that overrides more than the constructor."""
    harmless = {"__init__", "__module__", "__doc__", "__qualname__", "__annotations__", "__firstlineno__", "__static_attributes__"}
    own = (kind for kind in type(net).__mro__ if issubclass(kind, PlasticNetwork) and kind.__module__.partition(".")[0] != "nchl")
    return any(set(vars(kind)) - harmless - {"__abstractmethods__", "_abc_impl"} for kind in own)


class Copies(PlasticNetwork):
    """A population of copies of a network of one individual; made by the default `populate`.

    Args:
        template: a network of one individual; it is copied.
        population: number of individuals.
    """

    def __init__(self, template: PlasticNetwork, population: int) -> None:
        super().__init__(
            template.layout,
            input_shape=tuple(template.input_shape),
            output_size=template.output_size,
            output_bounded=template.output_bounded,
            weights_per_individual=template.weights_per_individual,
            population=population,
            dtype=template.dtype,
            device=template.device,
        )
        self.differentiable, self.plastic = template.differentiable, template.plastic
        self._generator = generator_of(template)
        self.members = nn.ModuleList([copy.deepcopy(template) for _ in range(population)])
        kind = type(template).__name__
        self.notes = [
            *template.notes,
            f"{kind} has no populate(population) of its own: its individuals are stepped one by one, which is slow; "
            "write one, or write the network as nchl.PlasticGraph",
        ]
        if not template.differentiable:
            self.genome.copy_(template.genome)

    @property
    def individuals(self) -> list[PlasticNetwork]:
        """The copies, in order."""
        return [member for member in self.members if isinstance(member, PlasticNetwork)]

    @property
    def needs_reward(self) -> bool:
        """See `PlasticNetwork.needs_reward`."""
        return self.individuals[0].needs_reward

    def _genome_changed(self) -> None:
        for row, member in enumerate(self.individuals if "members" in self._modules else ()):
            member.set_hrules(self.genome[row])

    def constants(self) -> dict[str, Tensor]:
        """The template's constants, which all individuals share; see `PlasticNetwork.constants`."""
        return self.individuals[0].constants()

    def load_constants(self, named: Mapping[str, Numbers]) -> None:
        """Replace the constants of all individuals; see `PlasticNetwork.load_constants`."""
        for member in self.individuals:
            member.load_constants(named)

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """Initial weights of one individual."""
        return self.individuals[0].draw_weights(generator)

    @explained_reset
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """See `PlasticNetwork.reset`; drawn weights are the same for all individuals."""
        if gives_weights(weights):
            weights = list(weights or ())
            first = self.individuals[0]
            # All of them, or those that are drawn because the genome does not contain them.
            kinds = first.weights if len(weights) == len(first.weights) else first.draw_weights(torch.Generator())
            own = [tuple(weight.shape) for weight in kinds]
            shared = check_weights(weights, [(str(k), shape) for k, shape in enumerate(own)], self.lead)
            for row, member in enumerate(self.individuals):
                member.reset([w[row] if tuple(w.shape) != shape else w for w, shape in zip(shared, own, strict=True)])
            return
        chosen = self._generator if generator is None else check_generator(generator)
        begin = chosen.get_state()
        for member in self.individuals:
            chosen.set_state(begin)  # each draws the same numbers
            member.reset(generator=chosen)

    @property
    def weights(self) -> list[Tensor]:
        """The stacked weights of all individuals: `(population, out, in)` each."""
        return [torch.stack(layer) for layer in zip(*(member.weights for member in self.individuals), strict=True)]

    def forward(self, x: Any) -> Tensor:
        """See `PlasticNetwork.forward`."""
        observed, _ = self._observe(x)
        return torch.stack([member.forward(row) for member, row in zip(self.individuals, observed, strict=True)])

    def update(self, reward: Any = None) -> None:
        """See `PlasticNetwork.update`; an individual that has been inactive since `reset` has no step to learn from."""
        failures = []
        for member, earned in zip(self.individuals, self._each(reward), strict=True):
            try:
                member.update(earned)
            except OrderError as error:
                failures.append(error)
        if len(failures) == len(self.members):
            raise failures[0]

    def step(self, x: Any, active: Any = None, *, reward: Any = None) -> Tensor:
        """See `PlasticNetwork.step`; an inactive individual is not stepped, its output is zeros."""
        mask = check_active(active, self.population)
        acts = [True] * len(self.members) if mask is None else mask.tolist()
        observed, _ = self._observe(x)
        rows: list[Tensor | None] = []
        for member, row, acting, earned in zip(self.individuals, observed, acts, self._each(reward), strict=True):
            member.plastic = self.plastic
            rows.append(member.step(row, reward=earned) if acting else None)
        shape = next((row.shape for row in rows if row is not None), (self.output_size,))
        return torch.stack([self.genome.new_zeros(shape) if row is None else row for row in rows])

    def populate(self, population: int | None, **keywords: Any) -> PlasticNetwork:
        """See `PlasticNetwork.populate`."""
        return self.individuals[0].populate(population, **keywords)

    def finite(self, rows: Tensor) -> Tensor:
        """See `PlasticNetwork.finite`."""
        first = torch.zeros(1, dtype=torch.long, device=self.device)
        found = [self.individuals[int(row)].finite(first) for row in rows]
        return torch.cat(found) if found else torch.ones(0, dtype=torch.bool, device=self.device)

    def _each(self, reward: Any) -> list[Any]:
        """A reward for each individual, or None for all."""
        count = len(self.members)
        if reward is None:
            return [None] * count
        given = real_numbers(reward, "reward")
        if tuple(given.shape) not in {(), (1,), (count,)}:
            raise ShapeError(f"reward: expected a number or shape ({count},), got {tuple(given.shape)}")
        return list(given.expand(count).unbind())
