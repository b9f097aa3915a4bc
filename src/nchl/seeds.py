"""Every random number as a function of named integers, never of a global state (design: the same bits everywhere).

A stream is named by (run seed, purpose, generation, index). Purposes keep training, validation and evaluation apart: their
streams have different keys, so that a score on unseen starts is one; the rest of the key makes any single stream computable
anywhere, in any order, on any worker, without having drawn those before it.

Streams differ, single numbers may coincide: simulators take seeds of 31 bits, and among n seeds of one purpose and m of another
a pair is equal with a probability of about n m / 2**31 (1,000 training and 100 evaluation episodes: 1 in 21,000).
"""

from __future__ import annotations

import enum

import numpy as np

from nchl.errors import whole_number


class Purpose(enum.IntEnum):
    """What a stream of random numbers is for; two purposes never share a stream (two numbers of theirs may be equal by chance)."""

    TRAINING = 0
    VALIDATION = 1
    EVALUATION = 2
    INITIAL_CENTRE = 3
    NOISE = 4
    STRATEGY = 5
    CONSTANTS = 6


_ENVIRONMENT, _WEIGHTS = 0, 1


def environment_seed(run_seed: int, purpose: Purpose, generation: int, episode: int) -> int:
    """Seed of an environment, in [0, 2**31): the same for every individual of a generation, drawn anew for the next.

    That is all that simulators take, so two episodes get the same seed by chance once in 2**31 pairs.
    """
    return int(_sequence(run_seed, purpose, generation, episode, _ENVIRONMENT).generate_state(1, np.uint32)[0] >> 1)


def weights_seed(run_seed: int, purpose: Purpose, generation: int, episode: int) -> int:
    """Seed of the generator that draws initial weights, in [0, 2**63): the same for everyone in a generation."""
    return int(_sequence(run_seed, purpose, generation, episode, _WEIGHTS).generate_state(1, np.uint64)[0] >> 1)


def generator(run_seed: int, purpose: Purpose, generation: int = 0, index: int = 0) -> np.random.Generator:
    """A Philox generator of its own for each (run seed, purpose, generation, index), for example one noise pair."""
    return np.random.Generator(np.random.Philox(_sequence(run_seed, purpose, generation, index)))


def _sequence(run_seed: int, purpose: Purpose, generation: int, index: int, *kind: int) -> np.random.SeedSequence:
    # numpy would take a seed of None for chance.
    named = zip((run_seed, generation, index), ("run_seed", "generation", "index or episode"), strict=True)
    entropy, *key = [whole_number(given, name) for given, name in named]
    return np.random.SeedSequence(entropy=entropy, spawn_key=(int(purpose), *key, *kind))
