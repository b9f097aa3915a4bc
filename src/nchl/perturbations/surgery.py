"""Lesions of networks that act: operations on the tensors of their state, between two steps, for the rows of a batch of episodes.

    lesion:weights=0.3   a share of all weights, plastic and static ones of all edges together (kernel elements where they are shared),
                         is set to 0; which, is drawn from the episode's seed. What a rule moves may grow again.
    lesion:neurons=0.2   a share of the hidden neurons falls silent for good: their connections, to them and from them, are held at 0.
                         Feature maps of convolutions are no single neurons and are left out.
    shuffle:weights      weights that are drawn at the beginning of an episode are drawn anew; those that evolution holds are permuted
                         within their edge.

Weightless networks (WNcHL) have no weights to set: their weights are the updates of the window's steps, so a lesion drops a share of the
window's steps, a shuffle all of them. Frozen weights stay as they are at a step of each episode's own.

A network of the user's is changed through the tensors that `weights` gives, which must then be its own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.perturbations.draws import generator
from nchl.perturbations.objects import Lesion, Perturbation, Shuffle
from nchl.perturbations.plan import Plan


class HiddenGroup(NamedTuple):
    """A group of hidden neurons.

    Attributes:
        size: how many.
        incoming: places in `weights` of the edges that lead to it: its neurons are their first axis.
        outgoing: of the edges that lead from it: its neurons are their second axis.
    """

    size: int
    incoming: Sequence[int]
    outgoing: Sequence[int]


def check(perturbations: Sequence[Perturbation], network: Any) -> None:
    """Refuse lesions that a network cannot have.

    Raises:
        InvalidArgument: no hidden neurons, or weights that cannot be reached.
    """
    for each in perturbations:
        if each.kind != "network":
            continue
        if isinstance(each, Lesion) and each.part == "neurons":
            if not hasattr(network, "silence") and not hidden_groups(network):
                raise InvalidArgument(
                    f"{str(each)!r}: this network has no hidden neurons that are known one by one; a {type(network).__name__} takes "
                    "lesion:weights and shuffle:weights (a class of your own may say `hidden_groups`)"
                )
        elif not hasattr(network, "drop_steps") and not network.weights:
            raise InvalidArgument(f"{str(each)!r}: this network shows no weights (its `weights` is empty), so that none can be changed")


def hidden_groups(network: Any) -> list[HiddenGroup]:
    """The hidden groups with neurons that are known one by one: those between dense edges, or those that the network names."""
    if hasattr(network, "individuals"):
        return hidden_groups(network.individuals[0])
    if hasattr(network, "hidden_groups"):
        return [HiddenGroup(*group) for group in network.hidden_groups()]
    graph = getattr(network, "graph", None)
    if graph is None:
        return []
    found = []
    for g in range(1, len(graph.groups) - 1):
        touching = [edge for edge in graph.edges if g in (edge.pre, edge.post)]
        if all(edge.weighted and edge.geometry is None for edge in touching):
            incoming, outgoing = ([k for k, edge in enumerate(graph.weighted) if getattr(edge, side) == g] for side in ("post", "pre"))
            found.append(HiddenGroup(graph.groups[g].size, incoming, outgoing))
    return found


class Surgery:
    """Lesions and freezing of a batch of episodes, row by row.

    Args:
        network: reset already; its rows are those of the batch.
        plan: perturbations of each episode; those of kind "network" are used.
        seeds: of the episodes, one for each row.
        freeze: steps of each row from which on its weights stay; None: they never do.
        every: steps from one call of `before` to the next, where actions are repeated.

    Raises:
        InvalidArgument: a lesion that this network cannot have.
    """

    def __init__(self, network: Any, plan: Plan, seeds: Sequence[int], freeze: Sequence[int] | None = None, every: int = 1) -> None:
        self._network, self._seeds = network, list(seeds)
        self._operations = [each for each in plan.all if each.kind == "network"]
        check(self._operations, network)
        # A moment between two calls comes with the later one.
        self._moments = [-(-np.array(plan.moments(each, seeds)) // every) * every for each in self._operations]
        self._freeze = None if freeze is None else -(-np.array(freeze) // every) * every
        self._held: dict[int, list[Tensor]] = {}
        self._silent: list[tuple[np.ndarray, list[Tensor]]] = []

    def before(self, step: int, reward: Any) -> Any:
        """Applies lesions and freezing between the last step's update and this step's forward.

        Args:
            step: of the environment, from 0.
            reward: of the last action, for a network whose last update waits for it.

        Returns:
            The reward that the step is still to be given.
        """
        due = [np.flatnonzero(moments == step) for moments in self._moments]
        frozen = np.zeros(0, np.int64) if self._freeze is None else np.flatnonzero(self._freeze <= step)
        if not (any(map(len, due)) or len(frozen) or self._silent):
            return reward
        network = self._network
        if reward is not None and network.needs_reward and network.plastic:
            network.update(reward=reward)
            reward = None
        with torch.no_grad():
            held = frozen[[int(row) in self._held for row in frozen]]
            if len(held):
                self._restore(held)
            for each, rows in zip(self._operations, due, strict=True):
                if len(rows):
                    self._operate(each, rows)
            for rows, masks in self._silent:
                self._write(rows, [weight * mask for weight, mask in zip(self._read(rows), masks, strict=True)])
            if len(frozen):
                self._hold(frozen)
        return reward

    def _operate(self, each: Perturbation, rows: np.ndarray) -> None:
        if isinstance(each, Shuffle):
            self._shuffle(each, rows)
        elif isinstance(each, Lesion) and each.part == "neurons":
            self._silence(each, rows)
        else:
            assert isinstance(each, Lesion)
            self._lesion(each, rows)

    def _lesion(self, each: Lesion, rows: np.ndarray) -> None:
        if hasattr(self._network, "drop_steps"):
            self._network.drop_steps(rows, self._drawn(rows, lambda seed: _chosen(self._network.window, each, seed)))
            return
        shapes = self._shapes()
        sizes = [int(np.prod(shape)) for shape in shapes]
        lost = self._drawn(rows, lambda seed: _chosen(sum(sizes), each, seed))
        kept = [
            ~torch.from_numpy(part).reshape(-1, *shape)
            for part, shape in zip(np.split(lost, np.cumsum(sizes)[:-1], axis=1), shapes, strict=True)
        ]
        self._change(rows, lambda k, weight: weight * kept[k].to(weight.device, weight.dtype))

    def _silence(self, each: Lesion, rows: np.ndarray) -> None:
        network = self._network
        if hasattr(network, "silence"):
            network.silence(rows, self._drawn(rows, lambda seed: _chosen(sum(network.nodes[1:-1]), each, seed)))
            return
        groups = hidden_groups(network)
        lost = self._drawn(rows, lambda seed: _chosen(sum(group.size for group in groups), each, seed))
        masks = [torch.ones_like(weight) for weight in self._read(rows)]
        begin = 0
        for group in groups:
            mine = ~torch.from_numpy(lost[:, begin : begin + group.size])
            begin += group.size
            for k in group.incoming:
                masks[k] *= mine.to(masks[k])[:, :, None]
            for k in group.outgoing:
                masks[k] *= mine.to(masks[k])[:, None, :]
        self._silent.append((rows, masks))

    def _shuffle(self, each: Shuffle, rows: np.ndarray) -> None:
        network = self._network
        if hasattr(network, "drop_steps"):
            network.drop_steps(rows, np.ones((len(rows), network.window), dtype=np.bool_))
            return
        shapes = self._shapes()
        graph = getattr(network, "graph", None)
        free = list(range(len(shapes)))
        if graph is not None:
            free = [edge.index for edge in network.drawn_edges]
        drawn: dict[int, dict[int, Tensor]] = {}
        for seed in {self._seeds[row] for row in rows}:
            random = generator(seed, str(each))
            torch_random = torch.Generator().manual_seed(int(random.integers(2**63 - 1)))
            new = network.draw_weights(torch_random)
            drawn[seed] = dict(zip(free, new, strict=True)) if len(new) == len(free) else {}
            for k, shape in enumerate(shapes):
                if k not in drawn[seed]:
                    drawn[seed][k] = torch.from_numpy(random.permutation(int(np.prod(shape))))

        def renewed(k: int, weight: Tensor) -> Tensor:
            made = []
            for row, own in zip(rows, weight, strict=True):
                new = drawn[self._seeds[row]][k]
                made.append(own.reshape(-1)[new.to(own.device)].reshape(own.shape) if new.dtype == torch.int64 else new.to(own))
            return torch.stack(made)

        self._change(rows, renewed)

    def _drawn(self, rows: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
        """A vector of True and False for each row, drawn once for each seed."""
        by_seed = {seed: draw(seed) for seed in dict.fromkeys(self._seeds[row] for row in rows)}
        return np.stack([by_seed[self._seeds[row]] for row in rows])

    def _shapes(self) -> list[tuple[int, ...]]:
        """Of one individual's weights."""
        lead = 0 if self._network.population is None else 1
        return [tuple(weight.shape[lead:]) for weight in self._network.weights]

    def _read(self, rows: np.ndarray) -> list[Tensor]:
        """Copies of the weights of rows, `(rows, ...)` each."""
        network = self._network
        tensors = network.window_tensors() if hasattr(network, "window_tensors") else network.weights
        # `index_select` and `index_copy_` take one thread; indexing starts them all, a hundred times as dear where cores are busy.
        return [
            tensor[None].clone() if network.population is None else tensor.index_select(0, torch.from_numpy(rows).to(tensor.device))
            for tensor in tensors
        ]

    def _write(self, rows: np.ndarray, values: Sequence[Tensor]) -> None:
        """Give rows other weights, in the network's own memory."""
        network = self._network
        if hasattr(network, "individuals"):
            for place, row in enumerate(rows):
                _put(network.individuals[row], None, [value[place : place + 1] for value in values])
        else:
            _put(network, rows, values)

    def _change(self, rows: np.ndarray, new: Callable[[int, Tensor], Tensor]) -> None:
        self._write(rows, [new(k, weight) for k, weight in enumerate(self._read(rows))])

    def _hold(self, rows: np.ndarray) -> None:
        for row, *values in zip(rows, *self._read(rows), strict=True):
            self._held[int(row)] = values

    def _restore(self, rows: np.ndarray) -> None:
        self._write(rows, [torch.stack(own) for own in zip(*(self._held[int(row)] for row in rows), strict=True)])


def _put(network: Any, rows: np.ndarray | None, values: Sequence[Tensor]) -> None:
    """Write to a network's tensors; one of the user's is asked whether it has them."""
    tensors = network.window_tensors() if hasattr(network, "window_tensors") else network.weights
    for tensor, value in zip(tensors, values, strict=True):
        if network.population is None:
            tensor.copy_(value[0])
        else:
            assert rows is not None
            tensor.index_copy_(0, torch.from_numpy(rows).to(tensor.device), value)
    if hasattr(network, "graph"):
        return
    for now, wanted in zip(network.weights, tensors, strict=True):
        if not torch.equal(now, wanted):
            raise InvalidArgument(
                f"{type(network).__name__}: its `weights` are copies, so that a lesion cannot reach the network; let the property return "
                "the tensors that `forward` uses"
            )


def _chosen(count: int, each: Lesion, seed: int) -> np.ndarray:
    """Which of `count` are lost: a share of them, rounded, at least one."""
    lost = np.zeros(count, dtype=np.bool_)
    if each.share == 1:
        lost[:] = True
        return lost
    lost[generator(seed, str(each)).permutation(count)[: max(1, round(each.share * count))]] = True
    return lost
