"""Observations with parts: the order and the numbers of Gymnasium's own `flatten`, in both simulators; and what of them is seen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nchl import tasks
from nchl.errors import InvalidArgument, ShapeError, TaskError, UnknownName
from nchl.simulators.base import Seeds
from nchl.simulators.flatten import packing
from nchl.simulators.host import tensor_of
from nchl.tasks import recorded
from nchl.tasks.spaces import observation_map

gymnasium = pytest.importorskip("gymnasium")
from gymnasium import spaces  # noqa: E402
from gymnasium.spaces.utils import flatten, flatten_space  # noqa: E402

NESTED = spaces.Dict(
    {
        "goal": spaces.Dict(z=spaces.Box(-5, 5, (2, 2), np.float64), a=spaces.Discrete(3, start=-1)),
        "pair": spaces.Tuple([spaces.MultiBinary([2, 2]), spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, -7]])]),
        "camera": spaces.Box(0, 255, (4, 5, 3), np.uint8),
        "count": spaces.Box(0, 2**30, (), np.int32),
    }
)


def batch(space: Any, samples: list[Any]) -> Any:
    """Samples as a simulator gives them: arrays within dicts and tuples, the batch in front."""
    if isinstance(space, spaces.Dict):
        return {key: batch(part, [sample[key] for sample in samples]) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(batch(part, [sample[k] for sample in samples]) for k, part in enumerate(space))
    return np.stack([np.asarray(sample) for sample in samples])


@pytest.mark.parametrize("space", [NESTED, NESTED["pair"], NESTED["goal"], NESTED["pair"][0], NESTED["pair"][1], NESTED["goal"]["a"]])
def test_a_vector_is_what_gymnasium_makes_of_it(space: Any) -> None:
    space.seed(0)
    samples = [space.sample() for _ in range(7)]
    pack = packing(space, None, "Any-v0")
    observe = observation_map(pack, space, None, "Any-v0")
    assert observe.shape == flatten_space(space).shape
    seen = observe(tensor_of(pack(batch(space, samples))))
    np.testing.assert_array_equal(seen, np.stack([flatten(space, sample) for sample in samples]))
    np.testing.assert_array_equal(observe(tensor_of(pack.of_one(samples[0])))[0], flatten(space, samples[0]))


def test_parts_are_chosen_by_key_and_path_in_the_order_of_the_space() -> None:
    NESTED.seed(1)
    sample = NESTED.sample()
    for observe, parts in (
        (["goal"], [flatten(NESTED["goal"], sample["goal"])]),
        (["count", "goal/a"], [[float(sample["count"])], flatten(NESTED["goal"]["a"], sample["goal"]["a"])]),
        (["pair/0"], [flatten(NESTED["pair"][0], sample["pair"][0])]),
    ):
        pack = packing(NESTED, observe, "Any-v0")
        by_space = {"count": 0, "goal": 1}  # Gymnasium sorts the keys of a dict
        parts = [part for _, part in sorted(zip(observe, parts, strict=True), key=lambda pair: by_space.get(pair[0].partition("/")[0], 2))]
        got = observation_map(pack, NESTED, None, "Any-v0")(tensor_of(pack.of_one(sample)))
        np.testing.assert_array_equal(got[0], np.concatenate(parts))


def test_where_each_part_lies_in_the_vector() -> None:
    pack = packing(NESTED, ["count", "goal"], "Any-v0")
    sample = NESTED.sample()
    got = pack.of_one(sample)[0]
    assert pack.places == {"count": range(1), "goal/z": range(1, 5), "goal/a": range(5, 8)}
    for name, place in pack.places.items():
        part = sample["count"] if name == "count" else sample["goal"][name[-1]]
        space = NESTED["count"] if name == "count" else NESTED["goal"][name[-1]]
        np.testing.assert_array_equal(got[place.start : place.stop], flatten(space, part))
    assert packing(spaces.Box(-1, 1, (4,)), None, "Any-v0").places == {}
    assert packing(spaces.Discrete(3), None, "Any-v0").places == {}


def test_a_picture_among_the_parts_can_be_chosen_for_a_convolutional_network() -> None:
    pack = packing(NESTED, ["camera"], "Any-v0")
    observe = observation_map(pack, NESTED, (4, 5), "Any-v0")
    assert observe.shape == (3, 4, 5)
    white = batch(NESTED, [NESTED.sample()]) | {"camera": np.full((1, 4, 5, 3), 255, np.uint8)}
    np.testing.assert_array_equal(observe(tensor_of(pack(white))), np.ones((1, 3, 4, 5)))
    with pytest.raises(TaskError, match=r"no pictures.*of these camera can be chosen for it: --observe camera"):
        observation_map(packing(NESTED, None, "Any-v0"), NESTED, (4, 5), "Any-v0")


def test_a_wrong_choice_of_parts_is_told() -> None:
    with pytest.raises(UnknownName, match=r"part of the observations of Any-v0 'gaol': did you mean 'goal'\?"):
        packing(NESTED, ["gaol"], "Any-v0")
    with pytest.raises(InvalidArgument, match="named twice"):
        packing(NESTED, ["goal", "goal"], "Any-v0")
    with pytest.raises(TaskError, match=r"no parts to choose from \(4 numbers\)"):
        packing(spaces.Box(-1, 1, (4,)), ["goal"], "Any-v0")
    talks = spaces.Dict(mission=spaces.Text(5), x=spaces.Box(-1, 1, (2,)))
    with pytest.raises(TaskError, match=r"not supported: mission \(Text\); choose others: --observe x"):
        packing(talks, None, "Any-v0")
    assert packing(talks, ["x"], "Any-v0").space.shape == (2,)


def test_an_observation_that_lacks_a_part_is_told() -> None:
    pack = packing(NESTED, ["goal"], "Any-v0")
    with pytest.raises(ShapeError, match=r"a part 'goal/z', got one without it \(\['camera'\]\)"):
        pack.of_one({"camera": 1})
    with pytest.raises(ShapeError, match=r"a part 'goal/z' of shape \(2, 2\), got \(3,\)"):
        pack.of_one({"goal": {"a": 0, "z": [1, 2, 3]}})
    with pytest.raises(InvalidArgument, match="of numbers, got"):
        pack.of_one({"goal": {"a": "x", "z": np.zeros((2, 2))}})


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Box(-1, 1, (4,)), np.zeros(4)),
        (spaces.Box(-1, 1, (1,)), np.zeros(1)),
        (spaces.Discrete(3), 1),
        (NESTED, {"camera": 1}),
    ],
)
def test_the_pair_of_a_reset_in_place_of_an_observation_is_told(space: Any, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"; `reset` returns a pair: write `observation, _ = env.reset\(\)`$"):
        packing(space, None, "Any-v0").of_one((value, {}))


@pytest.mark.parametrize("given", [np.zeros(4), [0.0] * 4, 1.0])
def test_a_vector_in_place_of_parts_is_told(given: Any) -> None:
    with pytest.raises(ShapeError, match=r"got one without it \(\w+\); act takes the environment's own observation, \{'goal': ...\}$"):
        packing(NESTED, ["goal"], "Any-v0").of_one(given)


def test_a_choice_out_of_its_range_is_told_and_not_wrapped_around() -> None:
    for outside in (-1, 3):
        with pytest.raises(TaskError, match=rf"an observation of {outside}, but the space has whole numbers from 0 to 2"):
            packing(spaces.Discrete(3), None, "Any-v0")(np.array([0, outside]))


@pytest.mark.parametrize(
    ("id", "observe", "size"),
    [
        ("CheetahRun-v1", None, 8 + 9),
        ("CheetahRun-v1", ["velocity"], 9),
        ("HopperHop-v1", None, 15),
        ("Go1JoystickFlatTerrain-v1", None, 48),
        ("Go1JoystickFlatTerrain-v1", ["state", "privileged_state"], 48 + 123),
        ("FetchReach-v4", ["desired_goal", "observation"], 13),
        ("BinPack-v2", None, 1180),
    ],
)
def test_envpools_parts_become_one_vector(id: str, observe: list[str] | None, size: int) -> None:
    envpool = pytest.importorskip("envpool")
    task = tasks.make(id, threads=1, observe=observe)
    assert task.observation_shape == (size,)
    space = task.simulator.observation_space
    raw = envpool.make(id, env_type="gymnasium", num_envs=3, seed=[5, 6, 7], num_threads=1).reset()[0]
    rows = [{key: row_of(raw[key], k) for key in raw} for k in range(3)]
    seen = space if observe is None else spaces.Dict({key: space[key] for key in observe})
    if id.startswith("Go1"):
        assert bool(task.notes) == (observe is None)
        seen = spaces.Dict({key: space[key] for key in observe or ["state"]})
    order = [key for key in space if key in seen.spaces]
    wanted = [np.concatenate([flatten(space[key], row[key]) for key in order]) for row in rows]
    np.testing.assert_array_equal(task.map_observations(task.reset(Seeds.of([5, 6, 7]))), np.stack(wanted))
    data = json.loads(json.dumps(recorded.to_record(task), allow_nan=False))
    back = recorded.from_record(data, None, lambda: task.simulator, file="config.json")
    np.testing.assert_array_equal(back.map_observations(tensor_of(back.simulator.packing.of_one(rows[1])))[0], wanted[1])
    assert (back.observation_shape, back.action_size) == (task.observation_shape, task.action_size)


def row_of(part: Any, k: int) -> Any:
    return {key: row_of(each, k) for key, each in part.items()} if isinstance(part, dict) else part[k]


def test_playgrounds_privileged_state_is_not_seen_unless_it_is_named() -> None:
    pytest.importorskip("envpool")
    [note] = tasks.make("Go1JoystickFlatTerrain-v1", threads=1).notes
    assert "privileged_state, which only the simulator knows" in note
    assert "--observe state privileged_state" in note


def test_a_recorded_space_of_any_kind_maps_as_the_space_itself() -> None:
    NESTED.seed(2)
    sample = NESTED.sample()
    back = recorded._space(json.loads(json.dumps(recorded._space_to_json(NESTED))))
    pack = packing(back, None, "Any-v0")
    np.testing.assert_array_equal(pack.of_one(sample)[0], flatten(NESTED, sample))
    with pytest.raises(ValueError, match="too large"):
        recorded._space({"kind": "MultiDiscrete", "nvec": [1 << 40], "start": [0], "dtype": "int64"})
    deep: dict[str, Any] = {"kind": "Discrete", "n": 2, "start": 0, "dtype": "int64"}
    for _ in range(40):
        deep = {"kind": "Dict", "parts": [["x", deep]]}
    with pytest.raises(ValueError, match="few levels"):
        recorded._space(deep)
