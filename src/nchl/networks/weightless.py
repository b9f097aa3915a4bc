"""WNcHL, a network that stores no weights: with a window of M steps, the weights are the updates of the last M steps,

    W(t) = sum over s = t-M .. t-1 of dW(s),    dW the NcHL rule,

and W(t) x needs no W, since every term of dW(s) is a product of a vector over i and one over j. Written out, with a(s) the
presynaptic and b(s) the postsynaptic activations of step s, m the number of steps in the window, and every sum over i for
both u_i = 1 and u_i = eta_i,

    (W x)_j = 1/2 sum over (u, v) in {(eta_i, 1), (1, eta_j)} of v_j * (
        sum_s sum_i u_i A_i a_i(s) x_i  +  (sum_i u_i x_i) B_j sum_s b_j(s)
        + C_j sum_s b_j(s) (sum_i u_i C_i a_i(s) x_i)  +  m D_j sum_i u_i D_i x_i )

So one step costs O(M (n_in + n_out)) in time and memory. The activations of the last M steps are stored. With a batch of B, each
observation is combined with each one in the window, and a step costs B^2 times as much.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from nchl.errors import InvalidArgument, ShapeError, whole_number
from nchl.networks.base import PlasticNetwork
from nchl.networks.checks import RULE_SETTINGS, SETTINGS, Numbers, check_nodes, explained, explained_reset, gives_weights, refuse_settings
from nchl.networks.mlp import mlp_graph
from nchl.networks.user.copies import with_genome_of
from nchl.rules import NCHL

DEFAULT_WINDOW = 20
_REFUSED = (*(name for name in RULE_SETTINGS if name != "backend"), "recurrent", "differentiable")


class WNcHL(PlasticNetwork):
    """Weightless neuron-centric Hebbian learning. The first output of a lifetime is 0.

    Source: Ferigo, Cunegatti, Iacca, GECCO 2024, arXiv 2403.12076.

    Args:
        nodes: layer sizes, inputs first.
        window: M, the number of past updates in the weights; at least 1.
        **keywords: population, dtype, device and generator as `PlasticGraph`. Settings of networks with weights are refused:
            initial_weights, normalise, rule (the factorisation is that of NcHL), average, every, trace, modulate, recurrent and
            differentiable.

    Raises:
        InvalidArgument: a value out of its range, or a refused setting.
    """

    @explained(*SETTINGS, *_REFUSED)
    def __init__(self, nodes: Sequence[int], window: int = DEFAULT_WINDOW, **keywords: Any) -> None:
        self.nodes = check_nodes(nodes)
        self.graph, self.rule = mlp_graph(self.nodes, NCHL), NCHL
        self.window = whole_number(window, "window", 1, "steps")
        super().__init__(
            self.graph.layout(coevolved=False),
            input_shape=self.nodes[:1],
            output_size=self.nodes[-1],
            output_bounded=True,
            weights_per_individual=sum(n_in * n_out for n_in, n_out in itertools.pairwise(self.nodes)),
            **refuse_settings("a weightless network", keywords, _REFUSED),
        )
        for k in range(len(self.nodes)):
            self.register_buffer(f"activations_{k}", self.genome.new_empty(0))
            self.register_buffer(f"activations_history_{k}", self.genome.new_empty(0))
        # Which steps of the window count, where a lesion has dropped some; and which hidden neurons are silent. None: no lesion.
        self._counting: Tensor | None = None
        self._silent: list[Tensor] | None = None
        self._genome_changed()
        self.reset()

    @explained_reset
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """Begin a new lifetime: an empty window.

        Raises:
            InvalidArgument: weights are given.
        """
        if gives_weights(weights):
            raise InvalidArgument("a weightless network has no initial weights, got some; call reset() without them, or use NcHL")
        self._steps = 0
        self._counting, self._silent = None, None
        for k in range(len(self.nodes)):
            self._buffers[f"activations_{k}"] = self.genome.new_empty(0)
            self._buffers[f"activations_history_{k}"] = self.genome.new_empty(0)

    def populate(self, population: int | None, **keywords: Any) -> WNcHL:
        """See `PlasticNetwork.populate`."""
        own = {"window": self.window, "dtype": self.dtype, "device": self.device, "population": population}
        return with_genome_of(self, WNcHL(self.nodes, **{**own, **keywords}))

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """An empty list."""
        return []

    @torch.no_grad()
    def forward(self, x: Shaped[Tensor, "*lead inputs"]) -> Shaped[Tensor, "*_lead outputs"]:
        """Outputs in [-1, 1] for `x` of shape `(inputs,)`, `(population, inputs)`, or with a batch axis before the inputs.

        Raises:
            ShapeError: the batch is of another size than that of the steps in the window.
        """
        a, batched = self._observe(x)
        a = a if batched else a.unsqueeze(-2)
        self._make_room(a.shape[-2])
        groups = [a]
        for k in range(len(self.nodes) - 1):
            made = torch.tanh(self._product(k, groups[-1]))
            groups.append(made if self._silent is None or k + 2 == len(self.nodes) else made.masked_fill(self._silent[k], 0.0))
        for k, group in enumerate(groups):
            self._buffers[f"activations_{k}"] = group
        return groups[-1].clone() if batched else groups[-1].squeeze(-2).clone()

    @torch.no_grad()
    def update(self, reward: Any = None) -> None:
        """Replace the oldest activations in the window by those of this step.

        Raises:
            OrderError: there was no `forward` in this lifetime.
        """
        if not self.get_buffer("activations_0").numel():
            raise self._order_error()
        for k in range(len(self.nodes)):
            self.get_buffer(f"activations_history_{k}")[..., self._steps % self.window, :, :] = self.get_buffer(f"activations_{k}")
        if self._counting is not None:
            self._counting[..., self._steps % self.window] = 1.0
        self._steps += 1

    @torch.no_grad()
    def drop_steps(self, rows: Any, lost: Any) -> None:
        """Forget steps of the window: their updates are no longer part of the weights. For lesions, see `nchl.perturbations`.

        Args:
            rows: indices of individuals.
            lost: which places of the window, (rows, window) of True and False; a place that no step has filled yet holds nothing.
        """
        if not self._steps:
            return
        kept = 1.0 - torch.as_tensor(lost).to(self.genome)
        individuals = self.population or 1
        index = torch.as_tensor(rows).to(self.device)
        filled = (torch.arange(self.window, device=self.device) < self._steps).to(self.dtype)
        if self._counting is None:
            self._counting = filled.expand(*self.lead, self.window).clone()
        counting = self._counting.view(individuals, self.window)
        counting[index] = counting[index] * kept
        for k in range(len(self.nodes)):
            history = self.get_buffer(f"activations_history_{k}")
            flat = history.view(individuals, self.window, -1)
            flat[index] = flat[index] * kept[:, :, None]

    def silence(self, rows: Any, lost: Any) -> None:
        """Silence hidden neurons of individuals until `reset`; `lost`: (rows, hidden neurons), the groups one behind the other."""
        if self._silent is None:
            self._silent = [torch.zeros(*self.lead, 1, n, dtype=torch.bool, device=self.device) for n in self.nodes[1:-1]]
        index, parts = torch.as_tensor(rows).to(self.device), torch.as_tensor(lost).to(self.device).split(list(self.nodes[1:-1]), dim=1)
        for silent, part in zip(self._silent, parts, strict=True):
            silent.view(self.population or 1, -1)[index] |= part

    def window_tensors(self) -> list[Tensor]:
        """What the weights are made of: the activations of the window's steps, and which of the steps count. The tensors themselves."""
        if self._counting is None:
            filled = (torch.arange(self.window, device=self.device) < self._steps).to(self.dtype)
            self._counting = filled.expand(*self.lead, self.window).clone()
        held: list[Tensor] = [*(self.get_buffer(f"activations_history_{k}") for k in range(len(self.nodes))), self._counting]
        return held

    @property
    @torch.no_grad()
    def weights(self) -> list[Tensor]:
        """W(t), `(*lead, out, in)` per layer, computed on request in O(M n_in n_out), for inspection and tests."""
        return [weight.reshape(*self.lead, *weight.shape[1:]) for weight in self._weights_of(slice(None))]

    @torch.no_grad()
    def finite(self, rows: Shaped[Tensor, " k"]) -> Shaped[Tensor, " k"]:
        """See `PlasticNetwork.finite`; W(t) is computed only of individuals in which something could have overflowed."""
        index = rows.to(self.device)
        found = self._cannot_overflow(index)
        doubtful = (~found).nonzero().squeeze(1)
        if len(doubtful):
            weights = self._weights_of(index[doubtful])
            found[doubtful] = torch.stack([torch.isfinite(weight).flatten(1).all(1) for weight in weights]).all(0)
        return found

    def _weights_of(self, rows: Tensor | slice) -> list[Tensor]:
        """W(t) of some individuals, `(k, out, in)` per layer."""
        neurons = [
            {name: t.reshape(-1, 1, n)[rows] for name, t in named.items()} for named, n in zip(self._neurons, self.nodes, strict=True)
        ]
        window = self._window_of(rows) if self._steps else []
        counting = None if self._counting is None else self._counting.view(-1, self.window, 1, 1)[rows]
        made = []
        for k, (n_in, n_out) in enumerate(itertools.pairwise(self.nodes)):
            total = self.genome.new_zeros(len(neurons[k]["D"]), n_out, n_in)
            for slot in range(min(self._steps, self.window)):
                pre, post = window[k][:, slot], window[k + 1][:, slot]
                moved = NCHL.delta(pre, post, pre, neurons[k], neurons[k + 1], {}).mean(1)
                total += moved if counting is None else moved * counting[:, slot]
            made.append(total)
        return made

    def _cannot_overflow(self, rows: Tensor) -> Tensor:
        """Whether every number on the way to W(t) of each of the individuals `rows` is finite, by the largest ones of each group.

        A bound: where it is False, W(t) may be finite all the same. Comparisons with NaN are False.
        """
        if self._steps == 0:
            return torch.ones(len(rows), dtype=torch.bool, device=self.device)
        named = self.layout.unpack(self.genome.reshape(-1, self.nparams)[rows])
        largest = []
        for group, activations in zip(self.graph.groups, self._window_of(rows), strict=True):
            parameters = named[group.name].abs().amax(1).double().unbind(1)
            largest.append((activations.abs().amax((1, 2, 3)).double(), dict(zip(group.parameters, parameters, strict=True))))
        summed = min(self._steps, self.window) * self.get_buffer("activations_history_0").shape[-2]
        sizes = []
        for (a, pre), (b, post) in itertools.pairwise(largest):
            rate, from_pre, from_post = pre["eta"] + post["eta"], pre["C"] * a, post["C"] * b
            change = pre["A"] * a + post["B"] * b + from_pre * from_post + pre["D"] * post["D"]
            sizes += [rate, from_pre, from_post, change, rate * change * summed]
        # A quarter of the largest number leaves room for the rounding of all of these sums and products.
        return (torch.stack(sizes) <= torch.finfo(self.dtype).max / 4).all(0)

    def _window_of(self, rows: Tensor | slice) -> list[Tensor]:
        """The activations in the window of some individuals, `(k, window, batch, n)` for each group."""
        buffers = (self.get_buffer(f"activations_history_{k}") for k in range(len(self.nodes)))
        return [held.view(-1, *held.shape[-3:])[rows] for held in buffers]

    def _product(self, k: int, x: Tensor) -> Tensor:
        """W(t) x of layer k for `x (*lead, batch, n_in)`, by the equation at the top; `(*lead, batch, n_out)`."""
        if self._steps == 0:  # an empty sum, also where `x` is not finite or overflows
            return x.new_zeros(*x.shape[:-1], self.nodes[k + 1])
        steps: int | Tensor = min(self._steps, self.window)
        if self._counting is not None:
            steps = self._counting.sum(-1)[..., None, None]
        pre, post = (self.get_buffer(f"activations_history_{j}") for j in (k, k + 1))
        # Steps and the samples of their batches are flattened to one axis; a step's update is the mean over its batch.
        batch = pre.shape[-2]
        a, b = pre.flatten(-3, -2), post.flatten(-3, -2)
        mine, other = ({name: t.unsqueeze(-2) for name, t in self._neurons[j].items()} for j in (k, k + 1))
        sum_a, sum_b = a.sum(-2, keepdim=True) / batch, b.sum(-2, keepdim=True) / batch

        def half(x: Tensor) -> Tensor:
            coincidence = ((mine["C"] * x).unsqueeze(-2) * a.unsqueeze(-3)).sum(-1)
            return (
                (mine["A"] * sum_a * x).sum(-1, keepdim=True)
                + x.sum(-1, keepdim=True) * other["B"] * sum_b
                + other["C"] * (coincidence.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2) / batch
                + steps * other["D"] * (mine["D"] * x).sum(-1, keepdim=True)
            )

        return (half(mine["eta"] * x) + other["eta"] * half(x)) / 2

    def _make_room(self, batch: int) -> None:
        for k, n in enumerate(self.nodes):
            shape = (*self.lead, self.window, batch, n)
            if self._steps == 0 and self.get_buffer(f"activations_history_{k}").shape != shape:
                with torch.inference_mode(False):  # `update` writes to it, inside and outside of an inference mode
                    self._buffers[f"activations_history_{k}"] = self.genome.new_zeros(shape)
        held = self.get_buffer("activations_history_0").shape[-2]
        if held != batch:
            raise ShapeError(f"the window holds steps with a batch of {held}, got one of {batch}; keep to one size, or reset() first")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}activations_history_0")
        if saved is not None and saved.ndim >= 3 and saved.shape[-3] != self.window:
            args[-1].append(f"the state has a window of {saved.shape[-3]} steps, this network one of {self.window}: make it with that one")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _activation_axes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        axes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for k, n in enumerate(self.nodes):
            axes[f"activations_{k}"], axes[f"activations_history_{k}"] = (self.lead, (n,)), ((*self.lead, self.window), (n,))
        return axes

    def _genome_changed(self) -> None:
        named = self.layout.unpack(self.genome)
        self._neurons = [
            dict(zip(group.parameters, named[group.name].mT.contiguous().unbind(-2), strict=True)) for group in self.graph.groups
        ]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._genome_changed()
        return self

    # The step count is a Python number while the network runs (a tensor would be read back at each step), a tensor in a state_dict.
    def get_extra_state(self) -> Tensor:
        """The number of steps in this lifetime, for `state_dict`."""
        return torch.tensor(self._steps)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self._steps = int(state)

    def extra_repr(self) -> str:
        """The text of `print(network)`."""
        return f"nodes={list(self.nodes)}, window={self.window}, population={self.population}, nparams={self.nparams}"
