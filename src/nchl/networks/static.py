"""StaticMLP: the papers' baseline. Its genome is its weights, layer by layer, row-major, and nothing moves while it acts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.genome import Layout
from nchl.networks.base import PlasticNetwork
from nchl.networks.layers import Numbers, check_nodes, gives_weights, product


class StaticMLP(PlasticNetwork):
    """A multilayer perceptron, tanh(W x) in every layer, whose weights are its genome.

    Args:
        nodes: layer sizes, inputs first.
        population: number of individuals, or None for one.
        dtype: torch.float32 or torch.float64; None: torch's default.
        device: where everything lives.
        generator: taken so that all networks are made alike; nothing is drawn.
        initial_weights: refused: a life begins with the weights of the genome.
        normalise: refused: no weight moves.
        rule: refused: there is none.

    Raises:
        InvalidArgument: a value out of its range, or one of the last three.
    """

    def __init__(
        self,
        nodes: Sequence[int],
        *,
        population: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        initial_weights: str | None = None,
        normalise: str | None = None,
        rule: object | None = None,
    ) -> None:
        for name, value in (("initial_weights", initial_weights), ("normalise", normalise), ("rule", rule)):
            if value is not None:
                raise InvalidArgument(f"{name} has no meaning for a network whose weights are its genome, got {value!r}; leave it out")
        self.nodes = check_nodes(nodes)
        layers = list(itertools.pairwise(self.nodes))
        super().__init__(
            Layout((f"weights{k}", (n_out, n_in), ()) for k, (n_in, n_out) in enumerate(layers)),
            input_shape=self.nodes[:1],
            output_size=self.nodes[-1],
            output_bounded=True,
            weights_per_individual=sum(n_in * n_out for n_in, n_out in layers),
            population=population,
            dtype=dtype,
            device=device,
            generator=generator,
        )
        self.plastic = False
        self._forwarded = False

    @property
    def weights(self) -> list[Tensor]:
        """The genome, cut into layers of `(*lead, out, in)`: views of it."""
        return list(self.layout.unpack(self.genome).values())

    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """Begin a new lifetime; every one begins with the weights in the genome.

        Raises:
            InvalidArgument: weights are given; `set_hrules` sets them.
        """
        if gives_weights(weights):
            raise InvalidArgument("a StaticMLP's weights are its genome; set them by set_hrules, not by reset")
        self._forwarded = False

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """An empty list: nothing is drawn."""
        return []

    @torch.no_grad()
    def forward(self, x: Shaped[Tensor, "*lead inputs"]) -> Shaped[Tensor, "*_lead outputs"]:
        """Outputs in [-1, 1] for `x` of shape `(inputs,)`, `(population, inputs)`, or with a batch axis before the inputs."""
        a, batched = self._observe(x)
        for weight in self.weights:
            a = torch.tanh(product(weight.unsqueeze(-3) if batched else weight, a))
        self._forwarded = True
        return a

    def update(self) -> None:
        """Nothing moves; but as in every network, a `forward` must have come first.

        Raises:
            OrderError: there was no `forward` in this lifetime.
        """
        if not self._forwarded:
            raise self._order_error()

    def extra_repr(self) -> str:
        """What `print(network)` says."""
        return f"nodes={list(self.nodes)}, population={self.population}, nparams={self.nparams}"
