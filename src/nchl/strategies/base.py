"""`Strategy`, the base of all strategies: ask and tell, the generation counter, the best vector so far, failed scores, exact state.

A strategy maximises. It sees vectors and scores, never a network. A subclass writes `settings`, `_ask`, `_tell`, `_state` and `_restore`;
every strategy derives from this class directly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nchl.errors import InvalidArgument, NchlError, OrderError, ShapeError, whole_number
from nchl.strategies.initial import initial_centre
from nchl.strategies.population import MatrixPopulation, Population

State = dict[str, np.ndarray]
_Result = TypeVar("_Result")


class Strategy(ABC):
    """Searches for the vector with the highest score.

        population = strategy.ask()
        strategy.tell([score(row) for row in population.rows()])

    The search is a function of the constructor's arguments and the scores: the noise of a generation is a function of
    (seed, generation, row), so a strategy that is restored between two generations continues bit by bit.

    Args:
        size: numbers in a vector.
        population: individuals per generation, at least 2.
        seed: seed of the run.
        centre: initial centre, see `initial_centre`.

    Attributes:
        centre: (size,) float64, the present mean of the search.
        sigma: standard deviation of the next generation.
        lr: learning rate of the next generation; NaN for a strategy without one.
        generation: finished generations.
        best: (size,) the vector with the highest score so far; None before the first `tell`.
        best_score: its score; `-inf` before the first `tell`.
    """

    name: ClassVar[str]
    formerly: ClassVar[tuple[str, ...]] = ()  # names in states that earlier versions saved

    def __init__(self, size: int, population: int, seed: int, *, centre: str | ArrayLike, sigma: float) -> None:
        size, population = whole_number(size, "size", None), whole_number(population, "population", None)
        seed = whole_number(seed, "seed")
        if size < 1:
            raise InvalidArgument(f"a vector needs at least 1 number to be searched; got size {size}")
        if population < 2:
            raise InvalidArgument(f"population must be at least 2, so that individuals can be compared; got {population}")
        if not (np.isfinite(sigma) and sigma > 0):
            raise InvalidArgument(f"sigma must be a finite number above 0; got {sigma}")
        self.size = size
        self.population = population
        self.seed = seed
        self.centre = initial_centre(centre, size, seed)
        self.sigma = float(sigma)
        self.lr = float("nan")
        self.generation = 0
        self.best: Float[np.ndarray, " size"] | None = None
        self.best_score = float("-inf")
        self._asked: Population | None = None

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    @property
    def centre(self) -> Float[np.ndarray, " size"]:
        """The mean of the search. The array is read-only: each step replaces it, because populations keep a reference to the old one."""
        return self._centre

    @centre.setter
    def centre(self, given: ArrayLike) -> None:
        centre = np.array(given, dtype=np.float64)
        if centre.shape != (self.size,):
            raise ShapeError(f"{self.name}: the centre must have shape ({self.size},); got {centre.shape}")
        centre.flags.writeable = False
        self._centre = centre

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The keyword arguments of the class other than `centre`, defaults included, as plain JSON values."""

    @abstractmethod
    def _ask(self) -> Population:
        """The next generation, a function of the state alone."""

    @abstractmethod
    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        """Move the search. At least one score is finite; others may be NaN or infinite (`shaping` ranks them last)."""

    def _state(self) -> State:
        """Arrays to save beyond those of the base; numbers as arrays without axes."""
        return {}

    def _before_restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Refuse a state for a better reason than the shapes of its arrays, which are compared next."""
        del state  # all are welcome

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore the arrays that `_state` returned."""
        del state  # the base has restored its own before

    @final
    def ask(self) -> Population:
        """The individuals of this generation; the same until `tell`."""
        if self._asked is None:
            self._asked = self._checked_population(self._guarded("_ask", self._ask))
        return self._asked

    @final
    def tell(self, scores: ArrayLike) -> None:
        """Move the search by the scores of the last population.

        Args:
            scores: (population,), higher is better, in the order of the rows. Scores that are not finite rank last.

        Raises:
            OrderError: there was no `ask` since the last `tell`.
            ShapeError: not one score per individual.
            InvalidArgument: a score that is not a number.
            NchlError: no score is finite.
        """
        if self._asked is None:
            raise OrderError("tell() came before ask(); each generation is: population = ask(), evaluate its rows, tell(scores)")
        try:
            values = np.array(scores, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"scores must be numbers, one per individual; got {type(scores).__name__} ({error})") from error
        if values.shape != (self.population,):
            raise ShapeError(f"scores must have shape ({self.population},), one per individual; got {values.shape}")
        finite = np.isfinite(values)
        if not finite.any():
            nan = int(np.isnan(values).sum())
            raise NchlError(
                f"generation {self.generation + 1} has no finite score ({nan} NaN, {self.population - nan} infinite), "
                "so there is nothing to rank; check the fitness function, or begin with a smaller sigma"
            )
        leader = int(np.argmax(np.where(finite, values, -np.inf)))
        if values[leader] > self.best_score:
            self.best_score = float(values[leader])
            self.best = self._asked.rows(leader, leader + 1)[0].astype(np.float64)
        values.flags.writeable = False
        self._guarded("_tell", self._tell, self._asked, values)
        self._asked = None
        self.generation += 1

    @final
    def state(self) -> State:
        """The whole state of the search, as copies; between `ask` and `tell`, the state before the `ask`."""
        own = {
            "centre": self.centre,
            "sigma": np.float64(self.sigma),
            "lr": np.float64(self.lr),
            "generation": np.int64(self.generation),
            "best": np.zeros(0) if self.best is None else self.best,
            "best_score": np.float64(self.best_score),
        }
        learnt = self._guarded("_state", self._state)
        return {key: np.array(value) for key, value in own.items()} | self._checked_state(learnt, own)

    @final
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a state of a strategy with the same arguments, bit by bit.

        Raises:
            InvalidArgument: an array is missing, unknown, or of another shape.
        """
        mine = self.state()
        if set(state) != set(mine):
            raise InvalidArgument(
                f"this state is not one of {self.name}: missing {sorted(set(mine) - set(state))}, unknown {sorted(set(state) - set(mine))}"
            )
        self._guarded("_before_restore", self._before_restore, state)
        for key, value in mine.items():
            given = np.shape(state[key])
            if given != value.shape and not (key == "best" and given in ((0,), (self.size,))):
                raise ShapeError(f"the state's {key!r} must have shape {value.shape}; got {given}")
        taken = {key: np.array(value) for key, value in state.items()}
        self.centre = taken["centre"]
        self.sigma = float(taken["sigma"])
        self.lr = float(taken["lr"])
        self.generation = int(taken["generation"])
        self.best = taken["best"] if taken["best"].size else None
        self.best_score = float(taken["best_score"])
        self._asked = None
        self._guarded("_restore", self._restore, taken)

    def _guarded(self, what: str, function: Callable[..., _Result], *given: Any) -> _Result:
        """Call a method of a subclass; an exception in a user's class becomes an error that names the method."""
        try:
            return function(*given)
        except Exception as error:
            if isinstance(error, NchlError) or type(self).__module__.startswith("nchl."):
                raise
            hint = ""
            if "read-only" in str(error):
                hint = "; it writes into a shared array (the centre, the scores, a population): make a new one"
            raise InvalidArgument(f"the strategy {self.name} failed in {what} ({type(error).__name__}: {error}){hint}") from error

    def _checked_population(self, asked: Any) -> Population:
        if isinstance(asked, np.ndarray):
            asked = MatrixPopulation.of(asked, self.name)
        if not isinstance(asked, Population):
            raise InvalidArgument(
                f"the strategy {self.name}: expected a population from _ask, or an array ({self.population}, {self.size}); "
                f"got {type(asked).__name__}"
            )
        if (len(asked), asked.size) != (self.population, self.size):
            raise ShapeError(
                f"the strategy {self.name}: expected {self.population} individuals of {self.size} numbers from _ask; "
                f"got {len(asked)} of {asked.size}"
            )
        return asked

    def _checked_state(self, learnt: Any, own: Mapping[str, Any]) -> State:
        if not isinstance(learnt, dict) or not all(isinstance(key, str) and key not in own for key in learnt):
            raise InvalidArgument(
                f"the strategy {self.name}: expected a dictionary of arrays from _state, with names other than {', '.join(own)}; got "
                f"{sorted(map(str, learnt)) if isinstance(learnt, dict) else type(learnt).__name__}"
            )
        state = {}
        for key, value in learnt.items():
            try:
                array = np.array(value)
            except ValueError as error:  # ragged lists
                raise InvalidArgument(f"the strategy {self.name}: {key!r} of its _state is not an array ({error})") from error
            if array.dtype.kind not in "fiub":
                raise InvalidArgument(f"the strategy {self.name}: {key!r} of its _state must hold numbers; got {type(value).__name__}")
            state[key] = array
        return state
