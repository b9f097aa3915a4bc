"""The same noise and scores in, the same centre out as from EvoTorch 0.6.1 (tests/data/evotorch/make_vectors.py made the files)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nchl import strategies
from nchl.strategies import GaussianPopulation

DATA = Path(__file__).resolve().parents[1] / "data" / "evotorch"


@pytest.mark.parametrize(
    ("file", "name", "given"),
    [
        ("openai_es_adam", "openai-es", {"optimizer": "adam", "lr": 0.05, "lr_schedule": "constant", "sigma_schedule": "constant"}),
        ("pgpe_clipup", "pgpe", {"sigma": 0.1, "lr": 0.15, "lr_schedule": "constant"}),
        ("snes", "snes", {"sigma": 0.5}),
    ],
)
def test_twenty_generations_equal_those_of_evotorch(file, name, given):
    with np.load(DATA / f"{file}.npz") as data:
        noise, scores, centres, sigmas = (data[key] for key in ("noise", "scores", "centres", "sigmas"))
    generations, population, size = len(scores), scores.shape[1], centres.shape[1]
    assert generations == 20
    strategy = strategies.make(name, size, population, 7, centre=np.linspace(-1, 1, size), **given)
    for generation in range(generations):
        asked = strategy.ask()
        assert isinstance(asked, GaussianPopulation)
        np.testing.assert_array_equal(np.stack([asked.noise(stream) for stream in range(len(noise[0]))]), noise[generation])
        strategy.tell(scores[generation])
        np.testing.assert_allclose(strategy.centre, centres[generation], atol=1e-6, rtol=0)
        np.testing.assert_allclose(getattr(strategy, "sigmas", strategy.sigma), sigmas[generation], atol=1e-6, rtol=0)
    assert np.abs(strategy.centre - np.linspace(-1, 1, size)).max() > 0.3  # it has moved
