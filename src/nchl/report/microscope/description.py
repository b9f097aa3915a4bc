"""Texts for readers of a recording: the rules, their settings, and what the shares of terms mean."""

from __future__ import annotations

from typing import Any

from nchl.networks.plasticity import Plasticity
from nchl.report.microscope.network_view import NetworkView
from nchl.report.microscope.shares import BUILT_IN
from nchl.rules import ABCD


def describe(view: NetworkView) -> dict[str, Any]:
    """Texts for the page.

    Returns:
        rules (their names), settings (sentences), shares_title, shares (sentences), no_terms (sentences), modulate (or None).
    """
    rules = list(dict.fromkeys(layer.rule for layer in view.layers if layer.rule is not None))
    names = {layer.rule: view.term_names(layer) for layer in view.layers if layer.rule is not None and view.term_names(layer)}
    built_in = [rule for rule in names if rule in BUILT_IN]
    title = "share of each term or parameter of their rules"
    if len(built_in) == len(names):
        title = "share of the terms A, B, C and D"
    elif len(names) == 1:
        title = f"share of the parameters {', '.join(*names.values())}"
    sentences = []
    if built_in:
        own = "; each with parameters of the synapse" if built_in == [ABCD] else ""
        sentences.append(
            "Of each layer's sum of |\N{GREEK SMALL LETTER ETA} \N{MIDDLE DOT} term| over its connections, in each step. "
            f"A: presynaptic, B: postsynaptic, C: both, D: constant{own}."
        )
    sentences += [
        "Of each layer, in each step: the sum over its connections of |change \N{MINUS SIGN} change if this parameter were 0|, "
        f"for each parameter of the rule {rule.name}."
        for rule in names
        if rule not in built_in
    ]
    return {
        "rules": [rule.name for rule in rules],
        "settings": settings(view.plasticity, delayed=any(layer.delay for layer in view.layers)),
        "shares_title": title,
        "shares": sentences,
        "no_terms": [why for why in dict.fromkeys(map(view.why_no_terms, view.layers)) if why],
        "modulate": view.plasticity.words().get("modulate"),
    }


def settings(plasticity: Plasticity, *, delayed: bool) -> list[str]:
    """A sentence for each setting of plasticity that is not at its default, and one if the network has delayed edges."""
    words = plasticity.words()
    target = "the reward" if plasticity.modulate == "reward" else f"the reward above its running mean ({words.get('modulate')})"
    sentences = {
        "average": f"The rule gets averages of the activations ({words.get('average')}), and the shares are computed from them.",
        "trace": f"Changes accumulate in an eligibility trace E, which decays by {words.get('trace')} in each step; "
        "the shares are of the change that is added to it.",
        "modulate": f"Each update of the weights is multiplied by m(t), {target}.",
        "every": f"The weights change at step 1 and every {words.get('every')} steps from there; "
        "in between, the shares are of the change that the rule computes.",
    }
    delay = ["An edge with delay 1 reads the activations of the step before; they are drawn along its side."] if delayed else []
    return delay + [sentence for name, sentence in sentences.items() if name in words]
