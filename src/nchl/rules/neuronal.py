"""NcHL, the neuron-centric Hebbian rule: five numbers per neuron instead of five per synapse.

    dW[j,i] = (eta_i + eta_j) / 2 * (A_i a_i + B_j a_j + C_i C_j a_i a_j + D_i D_j)

i is the presynaptic neuron, j the postsynaptic one (Ferigo, Cunegatti, Iacca, GECCO 2024, arXiv 2403.12076). The equation is written in
three places: here; factorised in `networks.weightless`, which stores no weights; and in `rules/kernels/source/nchl.hpp` for the kernels.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from nchl.rules.declaration import Rule, check_lead, check_rules


def _terms(
    pre: Tensor, post: Tensor, A_pre: Tensor, B_post: Tensor, C_pre: Tensor, C_post: Tensor, D_pre: Tensor, D_post: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # Factors of one neuron are grouped, so that the compiled step multiplies them once per neuron instead of once per synapse.
    return A_pre * pre, B_post * post, (C_pre * pre) * (C_post * post), D_pre * D_post


def _rate(eta_pre: Tensor, eta_post: Tensor) -> Tensor:
    return 0.5 * (eta_pre + eta_post)


def nchl(
    pre: Tensor,
    post: Tensor,
    A_pre: Tensor,
    B_post: Tensor,
    C_pre: Tensor,
    C_post: Tensor,
    D_pre: Tensor,
    D_post: Tensor,
    eta_pre: Tensor,
    eta_post: Tensor,
) -> Tensor:
    """The equation above, elementwise."""
    a, b, c, d = _terms(pre, post, A_pre, B_post, C_pre, C_post, D_pre, D_post)
    return _rate(eta_pre, eta_post) * (a + b + c + d)


NCHL = replace(Rule.from_function(nchl), terms=_terms, rate=_rate)


def neuron_centric(
    pre: Float[Tensor, "*#lead inputs"],
    post: Float[Tensor, "*#lead outputs"],
    rules_in: Float[Tensor, "*#lead inputs 5"],
    rules_out: Float[Tensor, "*#lead outputs 5"],
) -> Float[Tensor, "*_lead outputs inputs"]:
    """The NcHL update of a dense layer.

    Source: Ferigo, Cunegatti, Iacca, GECCO 2024, arXiv 2403.12076.

    Args:
        pre: activations of the presynaptic neurons.
        post: activations of the postsynaptic neurons.
        rules_in: (A, B, C, D, eta) of each presynaptic neuron; its B is not used.
        rules_out: (A, B, C, D, eta) of each postsynaptic neuron; its A is not used.

    Returns:
        The change of the weights `(..., out, in)`.

    Raises:
        ShapeError: the tensors do not fit each other.
    """
    for name, rules, neurons, activations in (("rules_in", rules_in, "pre", pre), ("rules_out", rules_out, "post", post)):
        check_rules(name, rules, (*activations.shape[-1:], 5), f"five numbers for each neuron of {neurons} {tuple(activations.shape)}")
    check_lead(pre=pre.shape[:-1], post=post.shape[:-1], rules_in=rules_in.shape[:-2], rules_out=rules_out.shape[:-2])
    named_in = dict(zip(NCHL.names, rules_in.unbind(-1), strict=True))
    named_out = dict(zip(NCHL.names, rules_out.unbind(-1), strict=True))
    return NCHL.delta(pre, post, pre, named_in, named_out, {})
