"""Observation and action maps against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import spaces

from nchl.errors import InvalidArgument, TaskError
from nchl.simulators.flatten import packing
from nchl.simulators.host import tensor_of, type_of_actions
from nchl.tasks import spaces as maps


def action_map(space: spaces.Space, task: str) -> Callable[[np.ndarray, bool], np.ndarray]:
    """The map of a space, in NumPy, with the actions in the space's type as a simulator gets them."""
    mapped = maps.action_map(space, task)

    def act(outputs: np.ndarray, bounded: bool) -> np.ndarray:
        actions, dtype = mapped(torch.from_numpy(outputs), bounded).numpy(), type_of_actions(space)
        return actions if dtype is None else actions.astype(dtype, copy=False)

    act.size = mapped.size  # type: ignore[attr-defined]
    return act


def observation_map(space: spaces.Space, image_size: tuple[int, int] | None, task: str) -> Callable[[np.ndarray], np.ndarray]:
    """The map of a space, in NumPy."""
    pack = packing(space, None, task)
    mapped = maps.observation_map(pack, space, image_size, task)

    def observe(raw: np.ndarray) -> np.ndarray:
        return mapped(tensor_of(pack(raw))).numpy()

    observe.shape = mapped.shape  # type: ignore[attr-defined]
    return observe


def test_bounded_outputs_are_scaled_to_the_bounds() -> None:
    action = action_map(spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32)), "Any-v0")
    mapped = action(np.array([[-1.0, -1.0], [0.0, 0.0], [0.5, 1.0]], np.float32), True)
    np.testing.assert_array_equal(mapped, np.array([[-2, 0], [0, 5], [1, 10]], np.float32))
    assert mapped.dtype == np.float32


def test_linear_outputs_are_squashed_by_tanh_first() -> None:
    action = action_map(spaces.Box(-3, 3, (1,), np.float64), "Any-v0")
    np.testing.assert_allclose(action(np.array([[0.5], [100.0]], np.float32), False), [[3 * math.tanh(0.5)], [3.0]], rtol=1e-15)


def test_unbounded_coordinates_take_the_output_as_it_is_and_half_bounds_clip() -> None:
    box = spaces.Box(np.array([-np.inf, 0.0], np.float32), np.array([np.inf, np.inf], np.float32))
    np.testing.assert_array_equal(action_map(box, "Any-v0")(np.array([[7.0, -7.0]], np.float32), False), [[7.0, 0.0]])


def test_car_racing_squashes_steering_by_tanh_and_pedals_by_sigmoid() -> None:
    box = spaces.Box(np.array([-1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0]), dtype=np.float64)
    outputs = np.array([[0.3, -0.7, 2.0]], np.float64)
    expected = [[math.tanh(0.3), 1 / (1 + math.exp(0.7)), 1 / (1 + math.exp(-2.0))]]
    np.testing.assert_allclose(action_map(box, "CarRacing-v3")(outputs, False), expected, rtol=1e-14)
    np.testing.assert_allclose(action_map(box, "CarRacing-v3")(np.array([[0.5, -1.0, 0.5]]), True), [[0.5, 0.0, 0.75]])


def test_outputs_beyond_one_are_clipped_before_the_simulator_sees_them() -> None:
    action = action_map(spaces.Box(-1, 1, (2, 2), np.float32), "Any-v0")
    mapped = action(np.array([[-9.0, 9.0, 0.25, 1e30]], np.float32), True)
    np.testing.assert_array_equal(mapped, np.array([[[-1, 1], [0.25, 1]]], np.float32))


def test_discrete_is_the_first_largest_and_knows_its_start() -> None:
    outputs = np.array([[0.0, 1.0, 1.0], [3.0, 1.0, 2.0]], np.float32)
    np.testing.assert_array_equal(action_map(spaces.Discrete(3), "Any-v0")(outputs, True), [1, 0])
    np.testing.assert_array_equal(action_map(spaces.Discrete(3, start=5), "Any-v0")(outputs, True), [6, 5])


def test_discrete_observations_become_one_hot() -> None:
    observe = observation_map(spaces.Discrete(4, start=1), None, "Any-v0")
    assert observe.shape == (4,)
    np.testing.assert_array_equal(observe(np.array([1, 4])), [[1, 0, 0, 0], [0, 0, 0, 1]])


def test_several_axes_are_flattened() -> None:
    observe = observation_map(spaces.Box(-1, 1, (2, 3)), None, "Any-v0")
    assert observe.shape == (6,)
    np.testing.assert_array_equal(observe(np.arange(12, dtype=np.float32).reshape(2, 2, 3)), np.arange(12).reshape(2, 6))


def test_pictures_are_resized_with_antialiasing_and_lie_in_the_unit_interval() -> None:
    space = spaces.Box(0, 255, (96, 96, 3), np.uint8)
    observe = observation_map(space, (48, 48), "Any-v0")
    assert observe.shape == (3, 48, 48)
    # A pattern of single black and white columns: antialiasing makes grey, picking pixels would not.
    stripes = np.zeros((1, 96, 96, 3), np.uint8)
    stripes[:, :, ::2] = 255
    inside = observe(stripes)[0, :, 2:-2, 2:-2]
    np.testing.assert_allclose(inside, 0.5, atol=0.01)
    assert observe(np.full((1, 96, 96, 3), 255, np.uint8)).max() == 1.0
    colours = np.zeros((1, 96, 96, 3), np.uint8)
    colours[..., 1] = 51
    np.testing.assert_allclose(observe(colours)[0].mean(axis=(1, 2)), [0, 0.2, 0], atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_picture_has_the_same_bits_alone_and_among_others(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        frames = np.random.default_rng(0).integers(0, 256, (9, 96, 96, 3), dtype=np.uint8)
        observe = observation_map(spaces.Box(0, 255, (96, 96, 3), np.uint8), (64, 64), "Any-v0")
        together = observe(frames)
        for k in range(len(frames)):
            np.testing.assert_array_equal(observe(frames[k : k + 1])[0], together[k])
    finally:
        torch.set_num_threads(before)


def test_pictures_without_resizing_keep_their_pixels_whatever_the_order_of_axes() -> None:
    last = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    expected = first / 255
    for frames in (last, first):
        observe = observation_map(spaces.Box(0, 255, frames.shape[1:], np.uint8), (8, 6), "Any-v0")
        np.testing.assert_allclose(observe(frames), expected, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 12])
def test_the_shorter_axis_of_a_picture_counts_its_channels(channels: int) -> None:
    last = np.random.default_rng(0).integers(0, 256, (2, 16, 14, channels), dtype=np.uint8)
    first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    for frames in (last, first):
        observe = observation_map(spaces.Box(0, 255, frames.shape[1:], np.uint8), (16, 14), "Any-v0")
        assert observe.shape == (channels, 16, 14)
        np.testing.assert_allclose(observe(frames), first / 255, atol=1e-7)


def test_a_picture_whose_axes_do_not_tell_the_channels_is_refused() -> None:
    with pytest.raises(TaskError, match=r"\(16, 14, 16\) do not say which axis counts the channels"):
        observation_map(spaces.Box(0, 255, (16, 14, 16), np.uint8), (8, 8), "Any-v0")
    assert observation_map(spaces.Box(0, 255, (16, 14, 16), np.uint8), None, "Any-v0").shape == (16 * 14 * 16,)


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Sequence(spaces.Discrete(2)), spaces.OneOf([spaces.Discrete(2)])])
def test_other_spaces_are_refused_by_name(space: spaces.Space) -> None:
    with pytest.raises(TaskError, match=rf"Any-v0: observations of type {type(space).__name__} are not supported"):
        observation_map(space, None, "Any-v0")
    with pytest.raises(TaskError, match=rf"Any-v0: actions of type {type(space).__name__} are not supported"):
        action_map(space, "Any-v0")


@pytest.mark.parametrize(
    "space", [spaces.Dict(x=spaces.Discrete(2)), spaces.Tuple([spaces.Discrete(2)]), spaces.Box(0, 2**40, (2,), np.int64)]
)
def test_actions_of_parts_and_of_whole_numbers_without_end_are_refused_by_name(space: spaces.Space) -> None:
    with pytest.raises(TaskError, match=rf"Any-v0: actions of type {type(space).__name__} .*expected Discrete, MultiDiscrete, MultiBinary"):
        action_map(space, "Any-v0")


def test_the_largest_of_each_block_is_taken_for_multi_discrete() -> None:
    action = action_map(spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[0, 5], [0, -1]]), "Any-v0")
    assert action.size == 9
    mapped = action(np.array([[0, 1, 3, 7, 7, 0, 0, -2, -1]], np.float32), True)
    np.testing.assert_array_equal(mapped, [[[1, 6], [0, 0]]])
    assert mapped.dtype == np.int64


def test_the_sign_is_taken_for_multi_binary() -> None:
    action = action_map(spaces.MultiBinary([2, 2]), "Any-v0")
    np.testing.assert_array_equal(action(np.array([[0.1, -0.1, 0, 3]], np.float32), False), [[[1, 0], [0, 1]]])


def test_whole_numbers_of_a_box_get_equal_shares_of_the_outputs() -> None:
    action = action_map(spaces.Box(np.array([0, -1]), np.array([3, 1]), dtype=np.int32), "Any-v0")
    y = np.linspace(-1, 1, 1200, endpoint=False, dtype=np.float32)[:, None].repeat(2, axis=1)
    mapped = action(y, True)
    assert mapped.dtype == np.int32
    np.testing.assert_allclose(np.bincount(mapped[:, 0]), 300, atol=2)
    np.testing.assert_allclose(np.bincount(mapped[:, 1] + 1), 400, atol=2)
    np.testing.assert_array_equal(action(np.array([[9.0, -9.0]]), True), [[3, -1]])


def test_a_refused_space_names_the_wrapper_that_helps_and_the_wrapper_does() -> None:
    with pytest.raises(TaskError, match=r"import gymnasium, robots; .*TransformObservation\(gymnasium.make\('Talks-v0'"):
        observation_map(spaces.Text(3), None, "robots:Talks-v0")
    with pytest.raises(TaskError, match=r"TransformAction\(gymnasium.make\('Any-v0'"):
        action_map(spaces.Tuple([spaces.Discrete(2)]), "Any-v0")


def test_image_size_needs_pictures_and_positive_numbers() -> None:
    with pytest.raises(TaskError, match="no pictures"):
        observation_map(spaces.Box(-1, 1, (4,)), (64, 64), "Any-v0")
    with pytest.raises(InvalidArgument, match="two positive"):
        observation_map(spaces.Box(0, 255, (8, 8, 3), np.uint8), (0, 64), "Any-v0")
