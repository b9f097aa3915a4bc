"""Reference vectors by EvoTorch 0.6.1: its distributions and optimisers, moved by noise and scores that are written down beside them.

    python tests/data/evotorch/make_vectors.py        (with evotorch 0.6.1 installed; the tests need the files only)

Each file: `noise` (generations, rows or pairs, n), `scores` (generations, P),
`centres` and `sigmas` (generations, n) after each generation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from evotorch.distributions import ExpSeparableGaussian, SymmetricSeparableGaussian
from evotorch.optimizers import Adam, ClipUp
from evotorch.tools import modify_tensor

SIZE, POPULATION, GENERATIONS, SEED = 12, 16, 20, 7
SPREAD = np.std(np.arange(POPULATION) / (POPULATION - 1))
HERE = Path(__file__).parent


def noise_of(generation: int, stream: int) -> np.ndarray:
    """As docs/strategies.md describes it: a Philox stream for each (seed, purpose 4, generation, row or pair)."""
    sequence = np.random.SeedSequence(entropy=SEED, spawn_key=(4, generation, stream))
    return np.random.Generator(np.random.Philox(sequence)).standard_normal(SIZE, dtype=np.float32)


def fitness(rows: torch.Tensor) -> torch.Tensor:
    scales = 10 ** torch.linspace(0, 2, SIZE, dtype=torch.float64)
    return -(scales * (rows - 0.5) ** 2).sum(1)


def record(name: str, distribution, *, mirrored: bool, ranking: str, move) -> None:
    kept: dict[str, list[np.ndarray]] = {"noise": [], "scores": [], "centres": [], "sigmas": []}
    for generation in range(GENERATIONS):
        streams = POPULATION // 2 if mirrored else POPULATION
        noise = np.stack([noise_of(generation, stream) for stream in range(streams)])
        steps = distribution.sigma * torch.as_tensor(noise.astype(np.float64))
        rows = distribution.mu + (torch.stack([steps, -steps], 1).reshape(POPULATION, SIZE) if mirrored else steps)
        scores = fitness(rows)
        gradients = distribution.compute_gradients(rows, scores, objective_sense="max", ranking_method=ranking)
        distribution = move(distribution, gradients)
        for key, value in zip(kept, (noise, scores.numpy(), distribution.mu.numpy(), distribution.sigma.numpy()), strict=True):
            kept[key].append(value.copy())
    np.savez_compressed(HERE / f"{name}.npz", **{key: np.stack(value) for key, value in kept.items()})


def start(sigma: float, **more) -> dict:
    return {"mu": torch.linspace(-1, 1, SIZE, dtype=torch.float64), "sigma": torch.full((SIZE,), sigma, dtype=torch.float64), **more}


adam = Adam(solution_length=SIZE, dtype=torch.float64, stepsize=0.05)
record(
    "openai_es_adam",
    SymmetricSeparableGaussian(start(0.1, divide_mu_grad_by="num_solutions"), dtype=torch.float64),
    mirrored=True,
    ranking="centered",
    # Of each pair it takes half of the difference, and sigma noise in place of noise / sigma; ranks have the deviation of SPREAD.
    move=lambda d, g: d.modified_copy(mu=d.mu + adam.ascent(2 * g["mu"] / d.sigma**2 / SPREAD)),
)
clipup = ClipUp(solution_length=SIZE, dtype=torch.float64, stepsize=0.15)
record(
    "pgpe_clipup",
    SymmetricSeparableGaussian(start(0.1, divide_mu_grad_by="num_directions", divide_sigma_grad_by="num_directions"), dtype=torch.float64),
    mirrored=True,
    ranking="centered",
    move=lambda d, g: d.modified_copy(
        mu=d.mu + clipup.ascent(g["mu"]), sigma=modify_tensor(d.sigma, d.sigma + 0.1 * g["sigma"], max_change=0.2)
    ),
)
record(
    "snes",
    ExpSeparableGaussian(start(0.5), dtype=torch.float64),
    mirrored=False,
    ranking="nes",
    move=lambda d, g: d.update_parameters(g, learning_rates={"mu": 1.0, "sigma": 0.2 * (3 + np.log(SIZE)) / np.sqrt(SIZE)}),
)
