"""Strategies of evosax behind our ask and tell: the same bits, exact state without pickle, and what cannot be made."""

from __future__ import annotations

import numpy as np
import pytest

from nchl import strategies
from nchl.errors import InvalidArgument, MissingExtra, UnknownName
from nchl.runs.settings.config import EvolveConfig
from reference.landscapes import sphere

# One with a mean, one with a tree of an optimiser, and one that begins with a population of its own.
VARIANTS = [("evosax:CMA_ES", {}), ("evosax:Open_ES", {"lr": 0.05, "optimizer": "clipup"}), ("evosax:DifferentialEvolution", {})]


def test_without_evosax_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "evosax.algorithms", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[evosax\]'"):
        strategies.make("evosax:CMA_ES", 4, 8, 0)


def test_the_configuration_takes_it_without_evosax() -> None:
    config = EvolveConfig.create("CartPole-v1", strategy="evosax:PGPE", lr=0.1)
    assert (config.sigma, config.lr, config.optimizer, config.lr_decay) == (None, 0.1, None, None)
    assert config.strategy_settings() == {"lr": 0.1}
    assert EvolveConfig.from_json(config.to_json()).to_json() == config.to_json()
    with pytest.raises(InvalidArgument, match="--mu does not apply to the strategy evosax:PGPE"):
        config.replace(mu=3)


@pytest.mark.parametrize(("name", "given"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_it_continues_bit_by_bit_from_plain_arrays_and_climbs(name, given) -> None:
    pytest.importorskip("evosax")

    def made() -> strategies.Strategy:
        return strategies.make(name, 6, 16, 3, **given)

    one, other = made(), made()
    begin = sphere(one.centre[None])[0]
    restored = made()
    for generation in range(30):
        rows = one.ask().rows()
        np.testing.assert_array_equal(rows, other.ask().rows())
        np.testing.assert_array_equal(rows[3:7], one.ask().rows(3, 7))
        for each in (one, other):
            scores = sphere(rows)
            scores[2] = np.nan
            each.tell(scores)
        if generation in (0, 1, 11):
            assert all(value.dtype.kind in "fiu" for value in one.state().values())
            restored.restore({key: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape) for key, v in one.state().items()})
            np.testing.assert_array_equal(restored.ask().rows(), one.ask().rows())
            restored.tell(np.arange(16))
    for key, value in one.state().items():
        np.testing.assert_array_equal(value, other.state()[key], err_msg=key)
    assert sphere(one.centre[None])[0] > 0.9 * begin  # negative, so higher is nearer to 0


def test_what_cannot_be_made_is_refused() -> None:
    pytest.importorskip("evosax")
    with pytest.raises(UnknownName, match="did you mean 'evosax:CMA_ES'"):
        strategies.make("evosax:CMAES", 4, 8, 0)
    with pytest.raises(InvalidArgument, match="needs num_populations"):
        strategies.make("evosax:SV_CMA_ES", 4, 8, 0)
    with pytest.raises(InvalidArgument, match=r"cannot be made for 7 individuals of 4 numbers: .*even"):
        strategies.make("evosax:Open_ES", 4, 7, 0)
    with pytest.raises(InvalidArgument, match="lr does not apply to evosax:CMA_ES, which takes no optimiser"):
        strategies.make("evosax:CMA_ES", 4, 8, 0, lr=0.1)
    with pytest.raises(InvalidArgument, match="needs a learning rate too"):
        strategies.make("evosax:PGPE", 4, 8, 0, optimizer="adam")
    with pytest.raises(InvalidArgument, match="sigma does not apply to evosax:GradientlessDescent"):
        strategies.make("evosax:GradientlessDescent", 4, 8, 0, sigma=0.1)
    with pytest.raises(InvalidArgument, match="has no setting 'mu'"):
        strategies.make("evosax:PGPE", 4, 8, 0, mu=0.1)
