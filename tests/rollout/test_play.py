"""Rollouts: fitness, shared starts, the same bits everywhere, and lives that end because a number is not finite."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nchl import tasks
from nchl.errors import InvalidArgument, ShapeError
from nchl.networks.mlp import NcHL, StaticMLP
from nchl.rollout import ObservationStatistics, Recorder, Rollout, evaluate, rollout
from nchl.rollout.episode import never, watch
from nchl.seeds import Purpose, environment_seed
from nchl.tasks.stages.open import open_stage

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("envpool")


def genomes_of(network: Any, population: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(population, network.nparams)).astype(np.float32)


class Counter(gymnasium.Env):
    """Pays its own step number times the action; the observation is a random constant and the step number."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.constant, self.steps = self.np_random.uniform(), 0
        return self._observe(), {}

    def _observe(self) -> np.ndarray:
        return np.array([self.constant, self.steps], np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert np.isfinite(action).all()
        self.steps += 1
        reward = self.steps * float(action[0])
        if action[0] == np.float32(0.75):
            reward = float("nan")
        if action[0] == np.float32(-0.75):
            reward = float("inf")
        observation = self._observe()
        if abs(action[0]) == np.float32(0.625):
            observation[0] = np.inf if action[0] > 0 else np.nan
        return observation, reward, bool(action[0] == np.float32(0.125)), False, {}


class Puppet(nn.Module):
    """Acts as its genome says: (output, step from which the output is NaN, step from which a weight is infinite)."""

    def __init__(self, population: int) -> None:
        super().__init__()
        self.population, self.input_shape, self.output_size, self.nparams = population, (2,), 1, 3
        self.output_bounded, self.plastic = True, True
        self.register_buffer("weights_0", torch.zeros(population, 1, 1))
        self.stepped: list[np.ndarray] = []
        self.seen: list[np.ndarray] = []

    def set_hrules(self, genomes: np.ndarray) -> None:
        self.genomes = torch.as_tensor(genomes)

    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        return [torch.rand(1, 1, generator=generator)]

    def reset(self, weights: list[Tensor] | None = None) -> None:
        assert weights is not None
        self.get_buffer("weights_0").copy_(weights[0])
        self.drawn = self.get_buffer("weights_0").clone()
        self.clock = 0

    needs_reward = False

    def finite(self, rows: Tensor) -> Tensor:
        return torch.isfinite(self.get_buffer("weights_0")[rows.long()]).all(-1).all(-1)

    def step(self, x: Tensor, active: Tensor, reward: Tensor | None = None) -> Tensor:
        assert reward is None
        self.clock += 1
        self.stepped.append(active.numpy().copy())
        self.seen.append(x.numpy().copy())
        broken = (self.genomes[:, 2] > 0) & (self.clock >= self.genomes[:, 2])
        self.get_buffer("weights_0")[broken] = torch.inf
        y = self.genomes[:, :1].clone()
        y[(self.genomes[:, 1] > 0) & (self.clock >= self.genomes[:, 1])] = torch.nan
        return y


@pytest.fixture
def counter() -> Iterator[tasks.Task]:
    gymnasium.register("Counter-v0", entry_point=Counter, max_episode_steps=4)
    yield tasks.make("Counter-v0")
    gymnasium.registry.pop("Counter-v0")


def puppets(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_fitness_is_the_sum_of_rewards_and_the_dead_are_not_stepped(counter: tasks.Task) -> None:
    network, recorder = Puppet(4), Recorder()
    scores = rollout(network, counter, puppets((0.5, 0, 0), (0.125, 0, 0), (-1, 0, 0)), run_seed=0, recorder=recorder)
    np.testing.assert_array_equal(scores.fitness, [5.0, 0.125, -10.0])
    np.testing.assert_array_equal(scores.lengths, [[4], [1], [4]])
    assert (scores.env_steps, scores.non_finite) == (9, 0)
    # The fourth row of the network is empty; the second episode ends at once.
    np.testing.assert_array_equal(network.stepped, [[True, True, True, False]] + [[True, False, True, False]] * 3)
    assert [active.tolist() for _, active in recorder.steps] == [[True] * 3] + [[True, False, True]] * 3


@pytest.mark.parametrize(
    ("culprit", "length"),
    [
        *(((0.5, 1, 0), 0), ((0.5, 3, 0), 2), ((0.75, 0, 0), 1), ((-0.75, 0, 0), 1), ((0.5, 0, 2), 4), ((np.nan, 0, 0), 0)),
        *(((np.inf, 0, 0), 0), ((0.625, 0, 0), 1), ((-0.625, 0, 0), 1)),
    ],
    ids=["action at once", "action later", "reward nan", "reward inf", "weight", "genome nan", "genome inf", "seen inf", "seen nan"],
)
def test_what_is_not_finite_ends_one_life_and_hurts_nobody_else(
    counter: tasks.Task, culprit: tuple[float, float, float], length: int
) -> None:
    others = puppets((0.5, 0, 0), (0.25, 0, 0), (-1, 0, 0))
    genomes = np.concatenate([others[:1], puppets(culprit), others[1:]])
    scores = rollout(Puppet(4), counter, genomes, run_seed=0, episodes=2)
    alone = rollout(Puppet(4), counter, others, run_seed=0, episodes=2)
    assert np.isnan(scores.fitness[1])
    assert scores.non_finite == 1
    np.testing.assert_array_equal(scores.lengths[1], [length, length])
    np.testing.assert_array_equal(np.delete(scores.fitness, 1), alone.fitness)


class Blown(Counter):
    """What it observes is infinite from the third observation on."""

    def _observe(self) -> np.ndarray:
        return np.array([self.constant, np.inf if self.steps >= 2 else self.steps], np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        return self._observe(), 1.0, False, False, {}


@pytest.mark.parametrize("make", [NcHL, StaticMLP])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("look_every", [1, 3])
def test_an_infinite_observation_ends_an_episode_of_any_network(make: Any, normalised: bool, look_every: int) -> None:
    """The hyperbolic tangent of infinity is 1, and the normalisation clips it."""
    statistics = None
    if normalised:
        statistics = ObservationStatistics((2,))
        statistics.count, statistics.deviation = 2, np.ones(2)
        statistics._prepare()
    gymnasium.register("Blown-v0", entry_point=Blown, max_episode_steps=6)
    try:
        for limit, length, wanted in ((6, 2, np.nan), (2, 2, 2.0)):  # the last observation of an episode is not looked at
            task = tasks.make("Blown-v0", max_episode_steps=limit)
            task.simulator.look_every = look_every
            network = make([2, 3, 1], population=3)
            scores = rollout(network, task, 0.1 * genomes_of(network, 3), run_seed=0, statistics=statistics)
            np.testing.assert_array_equal(scores.fitness, [wanted] * 3)
            np.testing.assert_array_equal(scores.lengths, [[length]] * 3)
            assert scores.non_finite == 3 * np.isnan(wanted)
            stage = open_stage("Blown-v0", "gymnasium", max_episode_steps=limit, draw=False)
            alone = make([2, 3, 1], population=1)
            alone.set_hrules(0.1 * genomes_of(alone, 1))
            moments = list(watch(alone, stage, statistics=statistics, draw=never))
            assert [moment.done for moment in moments] == [False, limit == 2], "as where an output is not finite"
            stage.close()
            task.close()
    finally:
        gymnasium.registry.pop("Blown-v0")


def test_numbers_too_large_for_the_network_hurt_nobody_else() -> None:
    """Strategies compute in double precision, networks in single precision."""
    task = tasks.make("CartPole-v1", max_episode_steps=20)
    network = NcHL([4, 2], population=3)
    genomes = genomes_of(network, 3).astype(np.float64)
    whole = rollout(network, task, genomes, run_seed=0)
    genomes[1, 2] = 1e39
    for scores in (rollout(network, task, genomes, run_seed=0), evaluate(network, task, genomes, run_seed=0, episodes=1)):
        assert np.isnan(scores.fitness[1])
        assert scores.non_finite == 1
    np.testing.assert_array_equal(rollout(network, task, genomes, run_seed=0).fitness[[0, 2]], whole.fitness[[0, 2]])


def test_starts_and_weights_are_shared_and_new_each_generation_and_episode(counter: tasks.Task) -> None:
    starts, weights = [], []
    for generation in (0, 1):
        network = Puppet(3)
        rollout(network, counter, puppets((0.5, 0, 0), (0.25, 0, 0), (-1, 0, 0)), run_seed=0, generation=generation, episodes=2)
        for first in network.seen[::4]:
            assert len(set(first[:, 0])) == 1
            starts.append(first[0, 0])
        assert len(set(network.drawn.flatten().tolist())) == 1
        weights.append(float(network.drawn[0]))
    assert len(set(starts)) == 4
    assert len(set(weights)) == 2


def test_evaluate_gives_each_episode_a_start_and_weights_of_its_own(counter: tasks.Task) -> None:
    network = Puppet(3)
    scores = evaluate(network, counter, puppets((0.5, 0, 0))[0], run_seed=5, episodes=7)
    assert scores.returns.shape == (1, 7)
    np.testing.assert_array_equal(scores.fitness, [5.0])
    met = np.concatenate([first[:, 0] for first in network.seen[::4]])[:7]
    expected = []
    for episode in range(7):
        environment = Counter()
        expected.append(environment.reset(seed=environment_seed(5, Purpose.EVALUATION, 0, episode))[0][0])
    np.testing.assert_array_equal(met, np.array(expected, np.float32))
    assert len(set(met)) == 7


def test_freezing_half_way_switches_plasticity_off_and_on_again(counter: tasks.Task) -> None:
    network, plastic = Puppet(2), []
    step = network.step
    network.step = lambda x, active, reward: plastic.append(network.plastic) or step(x, active)  # type: ignore[method-assign,func-returns-value]
    evaluate(network, counter, puppets((0.5, 0, 0))[0], run_seed=5, episodes=2, freeze_after=2)
    assert plastic == [True, True, False, False]
    assert network.plastic


@pytest.mark.parametrize("steps", [np.int64(2), torch.tensor(2), [2, 2], np.array([2, 2])], ids=lambda steps: type(steps).__name__)
def test_the_moment_of_freezing_may_be_any_whole_number(counter: tasks.Task, steps: Any) -> None:
    network, plastic = Puppet(2), []
    step = network.step
    network.step = lambda x, active, reward: plastic.append(network.plastic) or step(x, active)  # type: ignore[method-assign,func-returns-value]
    evaluate(network, counter, puppets((0.5, 0, 0))[0], run_seed=5, episodes=2, freeze_after=steps)
    assert plastic == [True, True, False, False]


def test_moments_of_freezing_that_cannot_be_are_refused(counter: tasks.Task) -> None:
    for wrong, words in ((1.5, "a whole number of steps, or one for each episode, at least 0, got 1.5"), ([2, -1], "at least 0, got -1")):
        with pytest.raises(InvalidArgument, match=f"freeze_after: expected .*{words}"):
            evaluate(Puppet(2), counter, puppets((0.5, 0, 0))[0], run_seed=5, episodes=2, freeze_after=wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="one for each of 2 episodes, got 3"):
        evaluate(Puppet(2), counter, puppets((0.5, 0, 0))[0], run_seed=5, episodes=2, freeze_after=[1, 2, 3])


def test_rewards_are_kept_beside_individuals_that_take_no_step(counter: tasks.Task) -> None:
    broken, sound = (np.nan, 0, 0), (0.5, 0, 0)
    scores = evaluate(Puppet(2), counter, puppets(broken, sound, broken), run_seed=5, episodes=2, keep_rewards=True)
    assert scores.rewards is not None
    np.testing.assert_array_equal(scores.rewards[1], [[0.5, 1.0, 1.5, 2.0]] * 2)
    assert not scores.rewards[[0, 2]].any()
    nothing = evaluate(Puppet(2), counter, puppets(broken), run_seed=5, episodes=2, keep_rewards=True)
    assert nothing.rewards is not None
    assert nothing.rewards.shape == (1, 2, 0)
    assert np.isnan(nothing.fitness).all()


def test_networks_and_genomes_that_do_not_fit_are_refused(counter: tasks.Task) -> None:
    with pytest.raises(ShapeError, match=r"\(2,\), the network takes \(3,\)"):
        rollout(NcHL([3, 1], population=2), counter, np.zeros((2, 3)), run_seed=0)
    with pytest.raises(ShapeError, match="1 outputs, the network has 2"):
        rollout(NcHL([2, 2], population=2), counter, np.zeros((2, 3)), run_seed=0)
    with pytest.raises(ShapeError, match="genomes: expected"):
        rollout(Puppet(2), counter, np.zeros((2, 4)), run_seed=0)
    with pytest.raises(InvalidArgument, match="population"):
        rollout(NcHL([2, 1]), counter, np.zeros((2, 3)), run_seed=0)
    with pytest.raises(InvalidArgument, match="at least one"):
        rollout(Puppet(2), counter, np.zeros((0, 3)), run_seed=0)


@pytest.mark.parametrize(("name", "steps"), [("CartPole-v1", 500), ("HalfCheetah-v5", 40), ("Hopper-v5", 60)])
def test_slices_and_threads_change_no_bit(name: str, steps: int) -> None:
    before = torch.get_num_threads()
    kept: list[Rollout] = []
    try:
        for threads, block in itertools.product((1, 2), (12, 4, 5)):
            torch.set_num_threads(threads)
            task = tasks.make(name, max_episode_steps=steps, threads=threads)
            network = NcHL([*task.observation_shape, 8, task.action_size], population=block)
            kept.append(rollout(network, task, genomes_of(network, 12), run_seed=2, generation=21, episodes=2))
    finally:
        torch.set_num_threads(before)
    for other in kept[1:]:
        np.testing.assert_array_equal(other.returns, kept[0].returns)
        np.testing.assert_array_equal(other.lengths, kept[0].lengths)
    assert len(np.unique(kept[0].fitness)) > 3


def test_an_individual_does_not_depend_on_its_neighbours() -> None:
    task = tasks.make("CartPole-v1")
    network = NcHL([4, 6, 2], population=8)
    genomes = genomes_of(network, 8)
    whole = rollout(network, task, genomes, run_seed=0)
    alone = rollout(network, task, genomes[3:4], run_seed=0)
    np.testing.assert_array_equal(alone.returns[0], whole.returns[3])


def test_both_simulators_give_cart_pole_the_same_scores_on_average() -> None:
    means = []
    for simulator in ("envpool", "gymnasium"):
        task = tasks.make("CartPole-v1", simulator=simulator, max_episode_steps=150)
        network = StaticMLP([4, 2], population=64)
        # Push where the pole leans: a good controller, so that scores vary widely with the start.
        genome = np.array([0, 0, -1, -0.2, 0, 0, 1, 0.2], np.float32)
        scores = evaluate(network, task, genome, run_seed=1, episodes=64)
        means.append((scores.returns.mean(), scores.returns.std() / 8))
    (a, error_a), (b, error_b) = means
    assert a > 50
    assert abs(a - b) < 4 * np.hypot(error_a, error_b) + 1


def test_rows_may_come_from_an_object_that_makes_them(counter: tasks.Task) -> None:
    class Lazy:
        def __len__(self) -> int:
            return 5

        def rows(self, start: int, stop: int) -> np.ndarray:
            return puppets(*((0.25 * k, 0, 0) for k in range(5)))[start:stop]

    scores = rollout(Puppet(2), counter, Lazy(), run_seed=0)
    assert scores.non_finite == 1  # 0.75 is the reward that is not a number
    np.testing.assert_array_equal(scores.fitness[[0, 1, 2, 4]], [0, 2.5, 5, 10])


def test_observations_are_normalised_with_the_statistics_given_and_the_sums_come_back(counter: tasks.Task) -> None:
    statistics = ObservationStatistics((2,))
    network = Puppet(2)
    genomes = puppets((0.5, 0, 0), (0.125, 0, 0))
    first = rollout(network, counter, genomes, run_seed=0, statistics=statistics)
    assert first.observation_sums is not None
    np.testing.assert_array_equal(first.observation_sums.count, [4, 1])
    np.testing.assert_array_equal(first.observation_sums.first[:, 1], [0, 0])
    np.testing.assert_array_equal(first.observation_sums.total[:, 1], [0 + 1 + 2 + 3, 0])
    statistics.update(first.observation_sums)
    network.seen.clear()
    second = rollout(network, counter, genomes, run_seed=0, generation=1, statistics=statistics)
    np.testing.assert_allclose(network.seen[0][:, 1], (0 - 6 / 5) / np.sqrt(14 / 5 - (6 / 5) ** 2), rtol=1e-6)
    np.testing.assert_array_equal(second.observation_sums.total[:, 1], [6, 0])  # type: ignore[union-attr]


@pytest.mark.slow
def test_memory_stays_flat_over_generations() -> None:
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()
    for name, simulator in (("Hopper-v5", "envpool"), ("CartPole-v1", "envpool"), ("LunarLander-v3", "envpool")):
        task = tasks.make(name, simulator, max_episode_steps=5)
        network = NcHL([*task.observation_shape, 4, task.action_size], population=64)
        genomes = genomes_of(network, 64)
        held = []
        for generation in range(100):
            rollout(network, task, genomes, run_seed=0, generation=generation)
            held.append(process.memory_info().rss / 2**20)
        assert max(held[60:]) - max(held[30:60]) < 20, f"{name}: grew from {held[30]:.0f} to {held[-1]:.0f} MB"
