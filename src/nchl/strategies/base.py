"""What all strategies share: the ask/tell protocol, the counter, the best ever, failed scores, and an exact state.

A strategy maximises. It sees vectors and scores and never a network. A leaf writes `_ask`, `_tell`, `_state` and
`_restore`, and nothing is more than one class away from this file.
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

    All that happens follows from the constructor's arguments and the scores told: the noise of a generation is a function
    of (seed, generation, row), so a strategy restored between two generations continues bit by bit.

    Args:
        size: numbers in a vector.
        population: individuals per generation, at least 2.
        seed: seed of the run.
        centre: where to begin, see `initial_centre`.

    Attributes:
        centre: (size,) float64, the mean that the search has reached.
        sigma: standard deviation of the coming generation's steps.
        lr: learning rate of the coming generation, NaN for a strategy that has none.
        generation: generations told so far.
        best: (size,) the vector with the highest score so far; None before the first `tell`.
        best_score: its score; `-inf` before the first `tell`.
    """

    name: ClassVar[str]
    formerly: ClassVar[tuple[str, ...]] = ()  # names under which earlier versions saved states of it

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
        """Where the search is; read-only, and replaced rather than changed, since populations handed out hold the old one."""
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
        """What `make(name, size, population, seed, **settings)` was given or took by default, ready for JSON."""

    @abstractmethod
    def _ask(self) -> Population:
        """The coming generation, as a function of the state; asked again without a `tell`, the same."""

    @abstractmethod
    def _tell(self, population: Population, scores: Float[np.ndarray, " population"]) -> None:
        """Move; at least one score is finite, the others may be NaN or infinite (`shaping` ranks them last)."""

    def _state(self) -> State:
        """Arrays beyond those that the base saves; numbers as arrays without axes."""
        return {}

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take back what `_state` gave."""
        del state  # the base's own are restored by then

    @final
    def ask(self) -> Population:
        """The individuals to evaluate now; the same ones until `tell`."""
        if self._asked is None:
            self._asked = self._checked_population(self._guarded("_ask", self._ask))
        return self._asked

    @final
    def tell(self, scores: ArrayLike) -> None:
        """Move by the scores of the population that was asked for.

        Args:
            scores: (population,), higher is better, in the order of the rows. One that is not finite ranks last.

        Raises:
            OrderError: nothing was asked for since the last `tell`.
            ShapeError: not one score per individual.
            InvalidArgument: a score that is no number.
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
                "so there is nothing to rank; look at what the fitness computes, or begin with a smaller sigma"
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
        """All that the search has learnt, as copies in numpy arrays; between `ask` and `tell` it stands before the `ask`."""
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
        """Continue exactly where `state` was taken, by a strategy with the same arguments.

        Raises:
            InvalidArgument: an array is missing, too many, or of another shape than this strategy's.
        """
        mine = self.state()
        if set(state) != set(mine):
            raise InvalidArgument(
                f"this state is not one of {self.name}: missing {sorted(set(mine) - set(state))}, unknown {sorted(set(state) - set(mine))}"
            )
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
        """Call a method of a leaf; of one that is not ours, whatever goes wrong is an error of it that says where."""
        try:
            return function(*given)
        except Exception as error:
            if isinstance(error, NchlError) or type(self).__module__.startswith("nchl."):
                raise
            hint = ""
            if "read-only" in str(error):
                hint = "; it writes into an array that others hold (the centre, the scores, a population): make a new one"
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
                raise InvalidArgument(f"the strategy {self.name}: {key!r} of its _state is no array ({error})") from error
            if array.dtype.kind not in "fiub":
                raise InvalidArgument(f"the strategy {self.name}: {key!r} of its _state must hold numbers; got {type(value).__name__}")
            state[key] = array
        return state
