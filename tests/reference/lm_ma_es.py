"""Algorithm 2 of arXiv 1705.06693 (LM-MA-ES), minimising, number by number in plain Python; slow on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable

Vector = list[float]


def dot(a: Vector, b: Vector) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def minimise(
    f: Callable[[Vector], float], y: Vector, sigma: float, population: int, generations: int, noise: Callable[[int, int], Vector]
) -> list[tuple[Vector, float]]:
    """(y, sigma) after each generation; `noise(t, i)` gives the n standard normal numbers of individual i in generation t.

    Valid where the paper's rates are rates: 2 lambda <= n.
    """
    n, lam = len(y), population
    mu = lam // 2
    total = sum(math.log(mu + 0.5) - math.log(j) for j in range(1, mu + 1))
    w = [(math.log(mu + 0.5) - math.log(i)) / total for i in range(1, mu + 1)]
    mu_w = 1 / sum(each**2 for each in w)
    m = 4 + math.floor(3 * math.log(n))
    c_sigma = 2 * lam / n
    assert c_sigma <= 1, "outside of the paper's regime"
    assert mu_w <= n
    c_d = [1 / (1.5 ** (i - 1) * n) for i in range(1, m + 1)]
    c_c = [lam / (4 ** (i - 1) * n) for i in range(1, m + 1)]
    p = [0.0] * n
    vectors = [[0.0] * n for _ in range(m)]
    history = []
    for t in range(generations):
        individuals = []
        for i in range(lam):
            z = list(noise(t, i))
            d = list(z)
            for j in range(min(t, m)):
                along = dot(vectors[j], d)
                d = [(1 - c_d[j]) * d[k] + c_d[j] * vectors[j][k] * along for k in range(n)]
            individuals.append((f([y[k] + sigma * d[k] for k in range(n)]), i, z, d))
        individuals.sort(key=lambda each: each[:2])
        z_mean = [sum(w[i] * individuals[i][2][k] for i in range(mu)) for k in range(n)]
        d_mean = [sum(w[i] * individuals[i][3][k] for i in range(mu)) for k in range(n)]
        y = [y[k] + sigma * d_mean[k] for k in range(n)]
        p = [(1 - c_sigma) * p[k] + math.sqrt(mu_w * c_sigma * (2 - c_sigma)) * z_mean[k] for k in range(n)]
        for i in range(m):
            scale = math.sqrt(mu_w * c_c[i] * (2 - c_c[i]))
            vectors[i] = [(1 - c_c[i]) * vectors[i][k] + scale * z_mean[k] for k in range(n)]
        sigma *= math.exp(c_sigma / 2 * (dot(p, p) / n - 1))
        history.append((y, sigma))
    return history
