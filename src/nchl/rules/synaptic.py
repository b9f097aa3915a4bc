"""HL, the synapse-centric ABCD rule: five numbers per synapse.

    dW[j,i] = eta[j,i] * (A[j,i] a_i + B[j,i] a_j + C[j,i] a_i a_j + D[j,i])

i is the presynaptic neuron, j the postsynaptic one (Najarro & Risi, NeurIPS 2020, arXiv 2007.02686).
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from nchl.rules.declaration import Rule, check_lead, check_rules


def _terms(
    pre: Tensor, post: Tensor, A_synapse: Tensor, B_synapse: Tensor, C_synapse: Tensor, D_synapse: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return A_synapse * pre, B_synapse * post, C_synapse * pre * post, D_synapse


def _rate(eta_synapse: Tensor) -> Tensor:
    return eta_synapse


def hl(
    pre: Tensor, post: Tensor, A_synapse: Tensor, B_synapse: Tensor, C_synapse: Tensor, D_synapse: Tensor, eta_synapse: Tensor
) -> Tensor:
    """The equation above, elementwise."""
    a, b, c, d = _terms(pre, post, A_synapse, B_synapse, C_synapse, D_synapse)
    return _rate(eta_synapse) * (a + b + c + d)


ABCD = replace(Rule.from_function(hl), terms=_terms, rate=_rate)


def abcd(
    pre: Float[Tensor, "*#lead inputs"],
    post: Float[Tensor, "*#lead outputs"],
    rules: Float[Tensor, "*#lead outputs inputs 5"],
) -> Float[Tensor, "*_lead outputs inputs"]:
    """The ABCD update of a dense layer.

    Source: Najarro, Risi, NeurIPS 2020, arXiv 2007.02686.

    Args:
        pre: activations of the presynaptic neurons.
        post: activations of the postsynaptic neurons.
        rules: (A, B, C, D, eta) of each synapse.

    Returns:
        The change of the weights `(..., out, in)`.

    Raises:
        ShapeError: the tensors do not fit each other.
    """
    synapses = f"five numbers for each synapse from pre {tuple(pre.shape)} to post {tuple(post.shape)}"
    check_rules("rules", rules, (*post.shape[-1:], *pre.shape[-1:], 5), synapses)
    check_lead(pre=pre.shape[:-1], post=post.shape[:-1], rules=rules.shape[:-3])
    return ABCD.delta(pre, post, rules[..., 0], {}, {}, dict(zip(ABCD.synapse, rules.unbind(-1), strict=True)))
