"""Random numbers as functions of named integers, without global state.

A stream has the key (run seed, purpose, generation, index). Training, validation and evaluation have different purposes, so that
evaluation really uses unseen starts. Any stream can be computed in any process, without drawing those before it.

Streams differ, but simulators take seeds of 31 bits: among n seeds of one purpose and m of another, a pair is equal with a probability
of about n m / 2**31 (1,000 training and 100 evaluation episodes: 1 in 21,000).
"""

from __future__ import annotations

import enum

import numpy as np

from nchl.errors import whole_number


class Purpose(enum.IntEnum):
    """The use of a stream of random numbers; two purposes never share a stream."""

    TRAINING = 0
    VALIDATION = 1
    EVALUATION = 2
    INITIAL_CENTRE = 3
    NOISE = 4
    STRATEGY = 5
    CONSTANTS = 6


_ENVIRONMENT, _WEIGHTS = 0, 1


def environment_seed(run_seed: int, purpose: Purpose, generation: int, episode: int) -> int:
    """Seed of an environment, in [0, 2**31): the same for every individual of a generation, another one in the next.

    Simulators take 31 bits, so two episodes have equal seeds once in 2**31 pairs.
    """
    return int(_sequence(run_seed, purpose, generation, episode, _ENVIRONMENT).generate_state(1, np.uint32)[0] >> 1)


def weights_seed(run_seed: int, purpose: Purpose, generation: int, episode: int) -> int:
    """Seed of the generator that draws initial weights, in [0, 2**63): the same for every individual of a generation."""
    return int(_sequence(run_seed, purpose, generation, episode, _WEIGHTS).generate_state(1, np.uint64)[0] >> 1)


def generator(run_seed: int, purpose: Purpose, generation: int = 0, index: int = 0) -> np.random.Generator:
    """The Philox generator of a (run seed, purpose, generation, index), for example of one noise pair."""
    return np.random.Generator(np.random.Philox(_sequence(run_seed, purpose, generation, index)))


def _sequence(run_seed: int, purpose: Purpose, generation: int, index: int, *kind: int) -> np.random.SeedSequence:
    # None would make numpy take entropy from the operating system.
    named = zip((run_seed, generation, index), ("run_seed", "generation", "index or episode"), strict=True)
    entropy, *key = [whole_number(given, name) for given, name in named]
    return np.random.SeedSequence(entropy=entropy, spawn_key=(int(purpose), *key, *kind))
