"""The strategies of evosax (Lange, arXiv 2212.04180) with this package's ask and tell: `make("evosax:CMA_ES", ...)`; extra `evosax`.

Randomness is a key for each generation, drawn from our own streams, so a generation is a function of (seed, generation, state). The
state is a tree of arrays: it is saved as its leaves, in their order, and restored into the tree of a new strategy with the same arguments.
evosax minimises, in single precision: it gets the negative scores, a score that is not finite as the worst finite one of its generation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl import seeds
from nchl.errors import InvalidArgument, UnknownName, require
from nchl.strategies.base import State, Strategy
from nchl.strategies.optimizers import SPEED, check_rate
from nchl.strategies.population import GaussianPopulation, MatrixPopulation, Population

PREFIX = "evosax:"
SIGMA = 0.1


class EvosaxStrategy(Strategy):
    """One strategy of evosax. The centre is its mean, or its best individual if it has no mean (genetic algorithms).

    Args:
        size: numbers in a vector.
        population: individuals per generation.
        seed: seed of the run.
        algorithm: its name in `evosax.algorithms`.
        centre: where to begin, see `initial_centre`.
        sigma: initial standard deviation; None: 0.1, where the algorithm has one.
        lr: learning rate, for an algorithm that takes an optimiser; None: evosax's own.
        optimizer: `sgd`, `adam` (where `lr` is given, the default) or `clipup`.

    Raises:
        MissingExtra: evosax is not installed.
        UnknownName: it has no such strategy.
        InvalidArgument: a setting that the algorithm does not have, or a population that it cannot use.
    """

    def __init__(
        self,
        size: int,
        population: int,
        seed: int,
        *,
        algorithm: str,
        centre: str | ArrayLike = "normal",
        sigma: float | None = None,
        lr: float | None = None,
        optimizer: str | None = None,
    ) -> None:
        known = require("evosax.algorithms", "evosax").algorithms
        if algorithm not in known:
            raise UnknownName("strategy", PREFIX + algorithm, [PREFIX + name for name in known], see="evosax.algorithms")
        super().__init__(size, population, seed, centre=centre, sigma=SIGMA if sigma is None else sigma)
        self.name = PREFIX + algorithm  # type: ignore[misc]
        self._jax = require("jax", "evosax")
        self._settings: dict[str, Any] = {"sigma": sigma, "lr": lr, "optimizer": optimizer}
        self._search, self._params = self._made(known[algorithm], sigma)
        self._has_mean = hasattr(self._search, "get_mean")
        with self._on_cpu():
            self._tree = self._first()
        self._asked_tree = self._tree

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments other than algorithm and centre."""
        return dict(self._settings)

    def _made(self, make: Any, sigma: float | None) -> tuple[Any, Any]:
        taken = inspect.signature(make).parameters
        missing = [each.name for each in taken.values() if each.default is each.empty and each.name not in ("population_size", "solution")]
        if missing:
            raise InvalidArgument(
                f"{self.name} needs {' and '.join(missing)}, for which there is no option; write it as a class in a file, "
                "and name that with --strategy FILE.py:NAME"
            )
        more = self._optimizer(taken)
        if "std_schedule" in taken:
            more["std_schedule"] = require("optax", "evosax").constant_schedule(self.sigma)
        try:
            search = make(population_size=self.population, solution=np.zeros(self.size, dtype=np.float32), **more)
            params = search.default_params
        except (AssertionError, ValueError, TypeError) as error:
            raise InvalidArgument(
                f"{self.name} cannot be made for {self.population} individuals of {self.size} numbers: {error}"
            ) from error
        begins_with_noise = not hasattr(search, "get_mean")
        if "std_init" in {each.name for each in dataclasses.fields(params)}:
            params = params.replace(std_init=self.sigma)
        elif sigma is not None and "std_schedule" not in taken and not begins_with_noise:
            raise InvalidArgument(f"sigma does not apply to {self.name}, which takes no initial standard deviation; leave it out")
        return search, params

    def _optimizer(self, taken: Mapping[str, Any]) -> dict[str, Any]:
        lr, name = self._settings["lr"], self._settings["optimizer"]
        if lr is None and name is None:
            return {}
        if "optimizer" not in taken:
            given = " and ".join(setting for setting in ("lr", "optimizer") if self._settings[setting] is not None)
            raise InvalidArgument(f"{given} does not apply to {self.name}, which takes no optimiser; leave it out")
        if lr is None:
            raise InvalidArgument(f"{self.name} with an optimizer of your choice needs a learning rate too: give lr (--lr)")
        lr, optax = check_rate("lr", lr), require("optax", "evosax")
        makers = {
            "adam": optax.adam,
            "sgd": optax.sgd,
            "clipup": lambda rate: require("evosax.core.optimizer", "evosax").clipup(learning_rate=rate, max_velocity=SPEED * rate),
        }
        name = "adam" if name is None else name
        if name not in makers:
            raise UnknownName("optimizer", name, makers)
        self.lr = lr
        return {"optimizer": makers[name](lr)}

    def _first(self) -> Any:
        """The state before the first generation, also for a strategy without a mean."""
        if self._has_mean:
            return self._search.init(self._key(0), self.centre.astype(np.float32), self._params)
        rows = np.zeros((self.population, self.size), dtype=np.float32)
        return self._search.init(self._key(0), rows, np.zeros(self.population, dtype=np.float32), self._params)

    def _ask(self) -> Population:
        if not self._has_mean and self.generation == 0:
            return GaussianPopulation(self.centre, self.sigma, self.population, self.seed, 0)
        with self._on_cpu():
            rows, self._asked_tree = self._search.ask(self._key(1), self._tree, self._params)
        return MatrixPopulation(np.array(rows))

    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        finite = np.isfinite(scores)
        costs = np.where(finite, -scores, -scores[finite].min()).astype(np.float32)
        with self._on_cpu():
            if not self._has_mean and self.generation == 0:
                self._tree = self._search.init(self._key(2), population.rows(), costs, self._params)
            else:
                told = self._search.tell(self._key(2), population.rows(), costs, self._asked_tree, self._params)
                self._tree = told[0]
        self.centre = np.asarray(self._tree.mean if self._has_mean else self._tree.best_solution)
        std = getattr(self._tree, "std", None)
        self.sigma = float("nan") if std is None else float(np.mean(np.asarray(std, dtype=np.float64)))

    def _state(self) -> State:
        return {f"evosax.{place:04d}": np.asarray(leaf) for place, leaf in enumerate(self._leaves(self._tree))}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        leaves, shape = self._jax.tree_util.tree_flatten(self._tree)
        given = [state[f"evosax.{place:04d}"].astype(np.asarray(leaf).dtype) for place, leaf in enumerate(leaves)]
        with self._on_cpu():
            self._tree = self._jax.tree_util.tree_unflatten(shape, [self._jax.numpy.asarray(each) for each in given])
        self._asked_tree = self._tree

    def _leaves(self, tree: Any) -> list[Any]:
        found: list[Any] = self._jax.tree_util.tree_leaves(tree)
        return found

    def _key(self, purpose: int) -> Any:
        drawn = seeds.generator(self.seed, seeds.Purpose.STRATEGY, self.generation, purpose).integers(0, 1 << 32, dtype=np.uint32)
        return self._jax.random.key(drawn)

    @contextlib.contextmanager
    def _on_cpu(self) -> Iterator[None]:
        with self._jax.default_device(self._jax.devices("cpu")[0]), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # between evosax and its own libraries
            yield
