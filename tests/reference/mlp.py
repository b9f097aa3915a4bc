"""Plain loops over neurons and synapses of design's equations, in Python floats: slow, and with nothing shared with the package."""

from __future__ import annotations

import math

PARAMETERS = ("A", "B", "C", "D", "eta")


def neuron_rules(nodes, genome):
    """Per group, per neuron, a dict of its numbers: input without B, output without A."""
    position, groups = 0, []
    for k, size in enumerate(nodes):
        used = [p for p in PARAMETERS if not (p == "B" and k == 0) and not (p == "A" and k == len(nodes) - 1)]
        group = []
        for _ in range(size):
            group.append(dict(zip(used, genome[position : position + len(used)], strict=True)))
            position += len(used)
        groups.append(group)
    assert position == len(genome)
    return groups


def nchl_delta(i, j, a_i, a_j):
    return (i["eta"] + j["eta"]) / 2 * (i["A"] * a_i + j["B"] * a_j + i["C"] * j["C"] * a_i * a_j + i["D"] * j["D"])


def forward(weights, x):
    activations = [[float(v) for v in x]]
    for weight in weights:
        activations.append([math.tanh(math.fsum(w * a for w, a in zip(row, activations[-1], strict=True))) for row in weight])
    return activations


def nchl_life(nodes, genome, weights, inputs, normalise=False):
    """Outputs of each step and the final weights of one individual with the neuron-centric rule."""
    groups = neuron_rules(nodes, genome)
    weights = [[list(map(float, row)) for row in weight] for weight in weights]
    outputs = []
    for x in inputs:
        a = forward(weights, x)
        outputs.append(a[-1])
        for k, weight in enumerate(weights):
            for j, row in enumerate(weight):
                for i in range(len(row)):
                    row[i] += nchl_delta(groups[k][i], groups[k + 1][j], a[k][i], a[k + 1][j])
            largest = max(abs(w) for row in weight for w in row)
            if normalise and largest > 0:
                weight[:] = [[w / largest for w in row] for row in weight]
    return outputs, weights


def hl_life(nodes, genome, weights, inputs):
    """The same with the ABCD rule: five numbers per synapse, layer by layer, row-major."""
    weights = [[list(map(float, row)) for row in weight] for weight in weights]
    outputs = []
    for x in inputs:
        a = forward(weights, x)
        outputs.append(a[-1])
        numbers = iter(genome)
        for k, weight in enumerate(weights):
            for j, row in enumerate(weight):
                for i in range(len(row)):
                    A, B, C, D, eta = (float(next(numbers)) for _ in range(5))
                    row[i] += eta * (A * a[k][i] + B * a[k + 1][j] + C * a[k][i] * a[k + 1][j] + D)
    return outputs, weights


def wnchl_life(nodes, genome, window, inputs):
    """Weightless: the weights of a step are the sum of the updates of the `window` steps before it, summed as matrices."""
    groups, updates, outputs = neuron_rules(nodes, genome), [], []
    for x in inputs:
        weights = []
        for k in range(len(nodes) - 1):
            weights.append([[math.fsum(u[k][j][i] for u in updates[-window:]) for i in range(nodes[k])] for j in range(nodes[k + 1])])
        a = forward(weights, x)
        outputs.append(a[-1])
        updates.append(
            [
                [
                    [nchl_delta(i, j, a_i, a_j) for i, a_i in zip(groups[k], a[k], strict=True)]
                    for j, a_j in zip(groups[k + 1], a[k + 1], strict=True)
                ]
                for k in range(len(nodes) - 1)
            ]
        )
    return outputs
