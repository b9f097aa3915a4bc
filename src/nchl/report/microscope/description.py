"""What the page says of a network beside the pictures of its life: what moves its weights, when, and what there is no share of."""

from __future__ import annotations

from typing import Any

from nchl.networks.plasticity import Plasticity
from nchl.report.microscope.anatomy import Anatomy
from nchl.rules import ABCD, NCHL


def told(anatomy: Anatomy) -> dict[str, Any]:
    """Words for the page: rules, settings, what the shares are of, and why a layer has none.

    Returns:
        rules (their names), settings (sentences), shares_title, shares (sentences), no_terms (sentences), modulate (or None).
    """
    rules = list(dict.fromkeys(layer.rule for layer in anatomy.layers if layer.rule is not None))
    shared = list(dict.fromkeys(layer.rule for layer in anatomy.layers if layer.rule is not None and anatomy.term_names(layer)))
    ours = [rule for rule in shared if rule in (NCHL, ABCD)]
    title = "share of each term or parameter of their rules"
    if len(ours) == len(shared):
        title = "share of the terms A, B, C and D"
    elif len(shared) == 1:
        names = next(anatomy.term_names(layer) for layer in anatomy.layers if layer.rule is shared[0] and anatomy.term_names(layer))
        title = f"share of the parameters {', '.join(names)}"
    sentences = []
    if ours:
        own = "; each with numbers of the synapse's own" if ours == [ABCD] else ""
        sentences.append(
            "Of each layer's sum of |\N{GREEK SMALL LETTER ETA} \N{MIDDLE DOT} term| over its connections, in each step. "
            f"A: presynaptic, B: postsynaptic, C: both, D: constant{own}."
        )
    sentences += [
        "Of each layer, in each step: the sum over its connections of |change \N{MINUS SIGN} change if this parameter were 0|, "
        f"for each parameter of the rule {rule.name}."
        for rule in shared
        if rule not in ours
    ]
    return {
        "rules": [rule.name for rule in rules],
        "settings": settings(anatomy.plasticity, delayed=any(layer.delay for layer in anatomy.layers)),
        "shares_title": title,
        "shares": sentences,
        "no_terms": [why for why in dict.fromkeys(map(anatomy.why_no_terms, anatomy.layers)) if why],
        "modulate": anatomy.plasticity.words().get("modulate"),
    }


def settings(plasticity: Plasticity, *, delayed: bool) -> list[str]:
    """A sentence for each setting of plasticity in time that is not at its default, and for edges with a delay."""
    words = plasticity.words()
    said = []
    if delayed:
        said.append("An edge with delay 1 reads the activations of the step before; its picture has them along its side.")
    if "average" in words:
        said.append(f"The rule sees averages of the activations ({words['average']}), and so do the shares.")
    if "trace" in words:
        said.append(
            f"Changes gather in an eligibility trace E, which decays by {words['trace']:g} in each step; the shares are of what joins it."
        )
    if "modulate" in words:
        what = "the reward" if plasticity.modulate == "reward" else f"the reward above its running mean ({words['modulate']})"
        said.append(f"What reaches the weights is multiplied by m(t), {what}.")
    if "every" in words:
        said.append(
            f"The weights change at step 1 and every {words['every']} steps from there; in between, shares are of what the rule would do."
        )
    return said
