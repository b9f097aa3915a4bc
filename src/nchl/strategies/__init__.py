"""Searches over vectors by their scores, one file per algorithm, all behind `ask` and `tell`.

strategy = make("openai-es", size=1104, population=200, seed=0, sigma=0.1)
population = strategy.ask()
strategy.tell([fitness(genome) for genome in population.rows()])

Classes are loaded when they are first used, so that the command line can list the strategies without numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nchl import lazy
from nchl.strategies.registry import STRATEGIES as STRATEGIES
from nchl.strategies.registry import make as make
from nchl.strategies.registry import population_from as population_from
from nchl.strategies.registry import settings as settings

if TYPE_CHECKING:
    from nchl.strategies.base import Strategy as Strategy
    from nchl.strategies.cma_es import CMAES as CMAES
    from nchl.strategies.elite import Elite as Elite
    from nchl.strategies.initial import CENTRES as CENTRES
    from nchl.strategies.initial import initial_centre as initial_centre
    from nchl.strategies.lm_ma_es import LMMAES as LMMAES
    from nchl.strategies.openai_es import OpenAIES as OpenAIES
    from nchl.strategies.pgpe import PGPE as PGPE
    from nchl.strategies.population import GaussianPopulation as GaussianPopulation
    from nchl.strategies.population import MatrixPopulation as MatrixPopulation
    from nchl.strategies.population import Population as Population
    from nchl.strategies.sep_cma_es import SepCMAES as SepCMAES
    from nchl.strategies.snes import SNES as SNES

_HOMES = {
    "CENTRES": "initial",
    "CMAES": "cma_es",
    "Elite": "elite",
    "GaussianPopulation": "population",
    "LMMAES": "lm_ma_es",
    "MatrixPopulation": "population",
    "OpenAIES": "openai_es",
    "PGPE": "pgpe",
    "Population": "population",
    "SNES": "snes",
    "SepCMAES": "sep_cma_es",
    "Strategy": "base",
    "initial_centre": "initial",
}

__getattr__, __dir__ = lazy.names(__name__, _HOMES)
