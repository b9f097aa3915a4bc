"""The library `cma` (Hansen, arXiv 1604.00772) for `cma-es` and `sep-cma-es`.

It gets random numbers of `nchl.seeds` and ranks as fitness, and its state is saved exactly.

The library's object is made from the constructor's arguments; what it learns is in the attributes of `_LEARNT`, which is all
that its next generation follows from. They are saved as arrays: neither pickle nor a replay of the past is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from jaxtyping import Float

from nchl import seeds
from nchl.errors import InvalidArgument, require
from nchl.strategies import shaping
from nchl.strategies.population import MatrixPopulation, Population

_SMALLEST_POPULATION = 4

# Arrays and counters of the library's object, by the path to them. `fit.hist...` and the like serve its own
# stopping criteria, which are not used here.
_LEARNT = (
    "mean",
    "mean_after_tell",
    "sigma",
    "pc",
    "pc2",
    "countiter",
    "countevals",
    "sigma_vec.scaling",
    "sigma_vec.is_identity",
    "adapt_sigma.ps",
    "adapt_sigma._ps_updated_iteration",
    "adapt_sigma.delta",
    "_isotropic_mean_shift_iteration",
)
_LEARNT_FULL = (
    "sm.C",
    "sm.B",
    "sm.D",
    "sm.last_update",
    "sm.count_tell",
    "sm.count_eigen",
    "sm._corr_condition",
    "sm._corr_condition_count_eigen",
    "sm._beta_diagonal_acceleration",
)


class Library:
    """One search by the library. `cma-es` and `sep-cma-es` keep no other state.

    Fitness reaches the library as ranks, so any order-preserving change of it changes nothing. Equal scores are ranked by row,
    which is chance, since rows are drawn alike: a generation of equals is a step of random selection, to which step size and matrix are
    neutral.

    Args:
        centre: (size,) where it begins.
        sigma: initial standard deviation in every coordinate.
        population: individuals per generation, at least 4.
        seed: seed of the run.
        diagonal: learn the variances only.
    """

    def __init__(self, centre: Float[np.ndarray, " size"], sigma: float, population: int, seed: int, *, diagonal: bool) -> None:
        if len(centre) < 2:
            raise InvalidArgument("CMA-ES learns how coordinates go together and needs at least 2; for size 1 use openai-es or elite")
        if population < _SMALLEST_POPULATION:
            raise InvalidArgument(f"CMA-ES needs at least {_SMALLEST_POPULATION} individuals to choose parents from; got {population}")
        self._begin, self._sigma, self.population, self.seed, self.diagonal = centre, sigma, population, seed, diagonal
        self._library = require("cma", "sim")
        self._threads = require("threadpoolctl", "sim").ThreadpoolController()
        self._generation = 0
        self._search = self._new_search()
        self._before_ask: dict[str, np.ndarray] | None = None

    def ask(self, generation: int) -> MatrixPopulation:
        """The next generation."""
        # The library's `ask` changes its object (it may decompose the matrix), but a saved state is that before the `ask`.
        self._before_ask, self._generation = self._snapshot(), generation
        with self._one_thread():
            return MatrixPopulation(np.asarray(self._search.ask()))

    def tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> tuple[Float[np.ndarray, " size"], float]:
        """Move the search; returns the new centre and step size."""
        # The library minimises, and its sort leaves the order of equal costs open; ranks with ties broken by row have none.
        costs = np.empty(self.population)
        costs[shaping.order(scores)] = np.arange(self.population)
        with self._one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the library warns about long single steps
            self._search.tell(list(population.rows()), costs.tolist())
        self._before_ask = None
        return np.array(self._search.mean), float(self._search.sigma)

    def state(self) -> dict[str, np.ndarray]:
        """The whole state; between `ask` and `tell` it is the state before the `ask`."""
        return self._snapshot() if self._before_ask is None else self._before_ask

    def check_version(self, state: Mapping[str, np.ndarray]) -> None:
        """Refuse a state of another version of the library.

        Raises:
            InvalidArgument: names both versions.
        """
        version = state["cma.version"].tobytes().decode()
        if version != self._library.__version__:
            raise InvalidArgument(
                f"this state was made with cma {version}, and cma {self._library.__version__} is installed: "
                f"the search would continue differently; use pip install cma=={version}"
            )

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        self._search = self._new_search()
        self._before_ask = None
        for path in self._learnt():
            value = state[f"cma.{path}"]
            owner, name = self._owner(path)
            setattr(owner, name, np.array(value) if value.ndim else value.item())
        self._search._updateBDfromSM()

    def _snapshot(self) -> dict[str, np.ndarray]:
        arrays = {f"cma.{path}": np.array(getattr(*self._owner(path))) for path in self._learnt()}
        return arrays | {"cma.version": np.frombuffer(self._library.__version__.encode(), dtype=np.uint8)}

    def _learnt(self) -> tuple[str, ...]:
        return _LEARNT if self.diagonal else _LEARNT + _LEARNT_FULL

    def _owner(self, path: str) -> tuple[Any, str]:
        *parents, name = path.split(".")
        owner = self._search
        for parent in parents:
            owner = getattr(owner, parent)
        return owner, name

    def _new_search(self) -> Any:
        options = {
            "popsize": self.population,
            "CMA_diagonal": self.diagonal,
            "CMA_mirrors": 0,  # below 6 individuals the library would mirror some, by a memory that is not saved here
            "randn": self._normal,
            "seed": float("nan"),  # NaN: leaves numpy's global generator alone
            "verbose": -9,
            "AdaptSigma": self._library.sigma_adaptation.CMAAdaptSigmaCSA,  # the default above 1,000 numbers is another one
            "conditioncov_alleviate": False,  # would change coordinates when badly conditioned, in state that is not saved here
        }
        search = self._library.CMAEvolutionStrategy(self._begin, self._sigma, options)
        # The library makes these at its first `ask` or `tell`, which a restored search does not have.
        search.adapt_sigma.initialize(search)
        search.timer = self._library.utilities.utils.ElapsedWCTime()
        search.mean_old = search.mean
        if self.diagonal:
            search.sigma_vec.scaling = np.ones(len(self._begin))
        return search

    def _normal(self, *shape: int) -> np.ndarray:
        return seeds.generator(self.seed, seeds.Purpose.NOISE, self._generation).standard_normal(shape)

    def _one_thread(self) -> AbstractContextManager[Any]:
        # Threads split the sums of a matrix product, so that the bits would depend on the number of cores.
        limits: AbstractContextManager[Any] = self._threads.limit(limits=1, user_api="blas")
        return limits
