"""One update of a plastic sequential's layers, from the two activations of each; what a life keeps constant is computed once.

The parameters of the neurons are cut out of the genome when it changes. Where sharing is termwise, the aggregates of the terms
without activations (D and eta) are computed at the first update after that.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.networks.conv_plan import Plan
from nchl.networks.layers import normalise_by_max
from nchl.rules import ABCD, NCHL, Rule, kernels
from nchl.rules.geometry import ConvGeometry
from nchl.rules.shared import Parameters, SharedLayer

BACKENDS = ("auto", "eager", "compiled")


class SharedRule:
    """The rule of one plastic sequential, with the parameters of everyone in the population.

    Args:
        plan: groups and layers.
        rule: the local rule.
        sharing: how the connections of a kernel element agree.
        termwise: whether each term is shared by itself.
        normalise: whether a layer is divided by its largest absolute weight after an update.

    Attributes:
        genomes: how many genomes it has taken: a program that was written for another one is out of date.
    """

    def __init__(self, plan: Plan, rule: Rule, *, sharing: str, termwise: bool, normalise: bool) -> None:
        self.plan, self.rule, self.sharing, self.termwise, self.normalise = plan, rule, sharing, termwise, normalise
        self.genomes = 0
        self._neurons: list[dict[str, Tensor]] = []
        self._synapses: dict[int, dict[str, Tensor]] = {}
        self._still: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    def learn(self, named: Mapping[str, Tensor]) -> None:
        """Take the parameters from the genome's blocks, each with the population in front (1 for a single network)."""
        self.genomes += 1
        self._still.clear()
        self._neurons = []
        for group in self.plan.groups:
            names = self.rule.neuron_parameters(presynaptic=group.presynaptic, postsynaptic=group.postsynaptic)
            columns = named[group.name].unbind(-1) if names else ()
            self._neurons.append({n: c.reshape(-1, *group.shape).contiguous() for n, c in zip(names, columns, strict=True)})
        if self.rule.synapse:
            for k in self.plan.plastic:
                columns = named[f"layer{k}"].unbind(-1)
                self._synapses[k] = {n: c.contiguous() for n, c in zip(self.rule.synapse, columns, strict=True)}

    def move(
        self,
        k: int,
        pre: Float[Tensor, "individuals batch *inputs"],
        post: Float[Tensor, "individuals batch *outputs"],
        weight: Float[Tensor, "individuals outputs *inputs_each"],
        rows: Bool[Tensor, " individuals"] | None = None,
    ) -> None:
        """Move the weights of layer `k` in place by torch, and normalise them if asked.

        Args:
            k: index of the layer.
            pre: activations of its input neurons.
            post: activations of its output neurons.
            weight: the layer's weights, contiguous.
            rows: whose weights; None: everyone's.
        """
        layer = self.plan.layers[k]
        pre, post = (a.reshape(*a.shape[:2], *self.plan.groups[g].shape) for a, g in ((pre, layer.pre), (post, layer.post)))
        parameters = self._parameters(k)
        # Rows are what the kernels left to torch: with the terms that the kernels' other steps of theirs have.
        constant = self._still_terms(k, compiled=rows is not None) if layer.geometry is not None and self.termwise else None
        moved = weight
        if rows is not None:
            moved, pre, post = weight[rows], pre[rows], post[rows]
            parameters = _of(rows, parameters)
            constant = None if constant is None else (constant[0][rows], constant[1][rows])
        if layer.geometry is None:
            moved.add_(self._linear(pre, post, moved, *parameters))
        elif constant is None:
            moved.add_(self._shared(layer.geometry).update(pre, post, moved, parameters))
        else:
            moved.add_(self._shared(layer.geometry).update_termwise(pre, post, parameters, constant))
        if self.normalise:
            normalise_by_max(moved.view(len(moved), moved.shape[1], -1))
        if rows is not None:
            weight[rows] = moved

    def has_kernel(self, k: int) -> bool:
        """Whether `write` knows this layer: NcHL, and HL of a linear layer."""
        return self.rule == NCHL or (self.rule == ABCD and self.plan.layers[k].geometry is None)

    def write(
        self,
        program: kernels.Program,
        k: int,
        pre: Float[Tensor, "individuals batch *inputs"],
        post: Float[Tensor, "individuals batch *outputs"],
        weight: Float[Tensor, "individuals outputs *inputs_each"],
    ) -> Bool[Tensor, " individuals"] | None:
        """Append the update of layer `k` to a program; arguments as `move`, with a batch of 1.

        Returns:
            For a convolution, whose weights the program left to `move` when it ran.
        """
        layer, normalise = self.plan.layers[k], self.normalise
        if self.rule == ABCD:
            program.move_synaptic(pre, post, self._synapses[k], weight, normalise=normalise)
            return None
        before, after = self._neurons[layer.pre], self._neurons[layer.post]
        if layer.geometry is None:
            program.move_linear(pre, post, before, after, weight, normalise=normalise)
            return None
        still = self._still_terms(k, compiled=True) if self.termwise else None
        return program.move_conv(layer.geometry, self.sharing, pre, post, before, after, weight, still, normalise=normalise)

    def _linear(self, pre: Tensor, post: Tensor, weight: Tensor, *parameters: Mapping[str, Tensor]) -> Tensor:
        # The axis of 1 is the batch's.
        before, after = ({n: p.flatten(1)[:, None] for n, p in neurons.items()} for neurons in parameters[:2])
        synapses = {n: p[:, None] for n, p in parameters[2].items()}
        return self.rule.delta(pre.flatten(2), post.flatten(2), weight[:, None], before, after, synapses).mean(1)

    def _parameters(self, k: int) -> Parameters:
        layer = self.plan.layers[k]
        return self._neurons[layer.pre], self._neurons[layer.post], self._synapses.get(k, {})

    def _shared(self, geometry: ConvGeometry) -> SharedLayer:
        return SharedLayer(self.rule, geometry, self.sharing, lead=1)

    def _still_terms(self, k: int, *, compiled: bool) -> tuple[Tensor, Tensor]:
        """The aggregates of D and eta of layer `k`, by torch or by the kernels: what a life keeps constant is computed once."""
        if (k, compiled) in self._still:
            return self._still[k, compiled]
        layer = self.plan.layers[k]
        assert layer.geometry is not None
        parameters, shared = self._parameters(k), self._shared(layer.geometry)
        if compiled:
            before, after, _ = parameters
            like = before["D"]
            still = (like.new_empty(len(like), *layer.shape), like.new_empty(len(like), *layer.shape))
            program = kernels.Program(len(like))
            rows = program.still_terms(layer.geometry, self.sharing, before, after, still)
            program.run()
            if bool(rows.any()):
                for mine, repaired in zip(still, shared.constant_terms(_of(rows, parameters)), strict=True):
                    mine[rows] = repaired
        else:
            still = shared.constant_terms(parameters)
        self._still[k, compiled] = still
        return still


def _of(rows: Tensor, parameters: Parameters) -> Parameters:
    """The parameters of some individuals."""
    before, after, synapses = ({name: p[rows] for name, p in named.items()} for named in parameters)
    return before, after, synapses


def check_backend(backend: str, device_type: str) -> tuple[str, list[str]]:
    """Which back end it becomes, and what the user should be told once.

    Raises:
        InvalidArgument: an unknown name, or `"compiled"` where there are no kernels.
    """
    if backend not in BACKENDS:
        raise InvalidArgument(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "eager" or (backend == "auto" and device_type != "cpu"):
        return "eager", []
    reason = f"the device is {device_type!r}, not a CPU" if device_type != "cpu" else kernels.unavailable()
    if not reason:
        return "compiled", []
    if backend == "compiled":
        raise InvalidArgument(f"backend='compiled': there are no kernels ({reason}); use 'auto'")
    return "eager", [f"the convolution kernels cannot be built ({reason}): the slower torch functions are used"]
