"""One update of a plastic sequential's layers, from the two activations of each; what a life keeps constant is computed once.

The parameters of the neurons are cut out of the genome when it changes. Where sharing is termwise, the aggregates of the terms
without activations (D and eta) are computed at the first update after that.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from nchl.errors import InvalidArgument
from nchl.networks.conv_plan import Plan
from nchl.networks.layers import normalise_by_max
from nchl.rules import ABCD, NCHL, Rule, kernels
from nchl.rules.shared import constant_terms, shared_terms, shared_update

BACKENDS = ("auto", "eager", "compiled")


class SharedRule:
    """The rule of one plastic sequential, with the parameters of everyone in the population.

    Args:
        plan: groups and layers.
        rule: the local rule.
        sharing: how the connections of a kernel element agree.
        termwise: whether each term is shared by itself.
        normalise: whether a layer is divided by its largest absolute weight after an update.
    """

    def __init__(self, plan: Plan, rule: Rule, *, sharing: str, termwise: bool, normalise: bool) -> None:
        self.plan, self.rule, self.sharing, self.termwise, self.normalise = plan, rule, sharing, termwise, normalise
        self._neurons: list[dict[str, Tensor]] = []
        self._synapses: dict[int, dict[str, Tensor]] = {}
        self._constant: dict[int, tuple[Tensor, Tensor]] = {}

    def learn(self, named: Mapping[str, Tensor]) -> None:
        """Take the parameters from the genome's blocks, each with the population in front (1 for a single network)."""
        self._constant.clear()
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
        *,
        compiled: bool,
    ) -> None:
        """Move the weights of layer `k` in place, and normalise them if asked.

        Args:
            k: index of the layer.
            pre: activations of its input neurons.
            post: activations of its output neurons.
            weight: the layer's weights, contiguous.
            compiled: use the kernels where there are any: NcHL, and HL of a linear layer, without a batch.
        """
        layer = self.plan.layers[k]
        pre, post = (a.reshape(*a.shape[:2], *self.plan.groups[g].shape) for a, g in ((pre, layer.pre), (post, layer.post)))
        has_kernel = self.rule == NCHL or (self.rule == ABCD and layer.geometry is None)
        if compiled and has_kernel and pre.shape[1] == 1:
            self._move_compiled(k, pre[:, 0], post[:, 0], weight)
            return
        weight.add_(self._linear(k, pre, post, weight) if layer.geometry is None else self._conv(k, pre, post, weight))
        if self.normalise:
            normalise_by_max(weight.view(weight.shape[0], weight.shape[1], -1))

    def _linear(self, k: int, pre: Tensor, post: Tensor, weight: Tensor) -> Tensor:
        layer = self.plan.layers[k]
        # The axis of 1 is the batch's.
        before, after = ({n: p.flatten(1)[:, None] for n, p in self._neurons[g].items()} for g in (layer.pre, layer.post))
        synapses = {n: p[:, None] for n, p in self._synapses.get(k, {}).items()}
        return self.rule.delta(pre.flatten(2), post.flatten(2), weight[:, None], before, after, synapses).mean(1)

    def _conv(self, k: int, pre: Tensor, post: Tensor, weight: Tensor) -> Tensor:
        layer = self.plan.layers[k]
        assert layer.geometry is not None
        parameters = (self._neurons[layer.pre], self._neurons[layer.post], self._synapses.get(k, {}))
        if self.termwise:
            return shared_terms(
                self.rule, layer.geometry, self.sharing, pre, post, None, *parameters, lead=1, constant=self._constant_terms(k)
            )
        return shared_update(self.rule, layer.geometry, self.sharing, pre, post, weight, *parameters, lead=1)

    def _move_compiled(self, k: int, pre: Tensor, post: Tensor, weight: Tensor) -> None:
        layer = self.plan.layers[k]
        before, after = self._neurons[layer.pre], self._neurons[layer.post]
        if self.rule == ABCD:
            kernels.synaptic_update(pre, post, self._synapses[k], weight)
        elif layer.geometry is None:
            kernels.linear_update(pre, post, before, after, weight)
        else:
            constant = self._constant_terms(k) if self.termwise else None
            kernels.conv_update(layer.geometry, self.sharing, pre, post, before, after, weight, constant)
        if self.normalise:
            kernels.normalise(weight)

    def _constant_terms(self, k: int) -> tuple[Tensor, Tensor]:
        if k not in self._constant:
            layer = self.plan.layers[k]
            assert layer.geometry is not None
            parameters = (self._neurons[layer.pre], self._neurons[layer.post], self._synapses.get(k, {}))
            self._constant[k] = constant_terms(self.rule, layer.geometry, self.sharing, *parameters, lead=1)
        return self._constant[k]


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
