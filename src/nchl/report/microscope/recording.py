"""A recording of one episode for the page: weights, activations and the terms of the rule, step by step, in a few megabytes.

Curves have a value for every step. Heat maps (weights, activations, other state, the rendered frame) are kept for every n-th step
only, with n doubling whenever there are too many. They are stored as 8-bit integers with one scale for each layer and step, so that a
shown value is within 0.4 % of the layer's largest weight.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int8

from nchl.errors import InvalidArgument, require
from nchl.networks.base import PlasticNetwork
from nchl.report.microscope.description import describe
from nchl.report.microscope.network_view import NetworkView

MOMENTS = 250  # heat maps of one episode at most
BUDGET = 8 << 20  # bytes of all heat maps before compression
FEWEST = 8
SATURATED = 0.95
NOT_FINITE = -128  # code of a value that is not finite

_POINTS = 1000  # of a curve
_FRAME_WIDTH = 320
_FRAME_QUALITY = 80


class Step(Protocol):
    """One step of an episode, for example an `nchl.rollout.episode.Moment`."""

    @property
    def reward(self) -> float:
        """Reward of the step."""

    @property
    def frame(self) -> Any:
        """Picture of the world, `(height, width, 3)` uint8, or None."""


class Microscope:
    """Records a network during an episode.

        microscope = Microscope(network)
        for moment in watch(network, stage, draw=microscope.wants_frame):
            microscope.look(moment)
        data = microscope.recording()

    Args:
        network: one individual, at the beginning of an episode.
        moments: heat maps to keep at most.

    Raises:
        InvalidArgument: the network has no graph, or is so large that fewer than `FEWEST` heat maps fit.
    """

    def __init__(self, network: PlasticNetwork, moments: int = MOMENTS) -> None:
        self.view = NetworkView(network)
        self._genome = network.genome.detach().cpu().numpy().reshape(-1).astype(np.float32)
        self._layout = network.layout
        neurons = sum(group.size for group in self.view.groups)
        each = sum(math.prod(layer.shape) for layer in self.view.layers if layer.plastic) + neurons * (1 + self.view.window)
        each += sum(held.size for held in self.view.held)
        self._most = min(moments, BUDGET // max(each, 1))
        if self._most < FEWEST:
            raise InvalidArgument(
                f"one step of this network takes {each:,} bytes, so that {self._most} steps fit the page; the microscope needs {FEWEST}"
            )
        self._stride = 1
        self._count = 0
        self._kept: list[dict[str, Any]] = []
        self._curves: list[dict[str, Any]] = []
        self._before = self.view.weights()
        self._earlier = [np.zeros(group.size, np.float32) for group in self.view.groups]
        self._baseline = 0.0

    def wants_frame(self, step: int) -> bool:
        """Whether a frame is needed at this step, counted from 0; for `watch(draw=...)`."""
        return step % self._stride == 0

    def look(self, moment: Step) -> None:
        """Record the step that the network has just made, its update included."""
        weights = self.view.weights()
        activations = self.view.activations()
        held = self.view.held_values(self._earlier)
        self._curves.append(self._measure(float(moment.reward), weights, activations, held))
        if self._count % self._stride == 0:
            self._keep(weights, activations, held, moment.frame)
        self._before, self._earlier = weights, activations
        self._count += 1

    def recording(self) -> dict[str, Any]:
        """The recording as a JSON object; see `pack` for its arrays.

        Raises:
            InvalidArgument: no step was recorded.
        """
        if not self._kept:
            raise InvalidArgument("the microscope has not recorded any step yet")
        view = self.view
        points = np.unique(np.linspace(0, self._count - 1, min(self._count, _POINTS)).round().astype(np.int64))
        curves = {name: np.stack([self._curves[p][name] for p in points]).astype(np.float32) for name in self._curves[0]}
        still = [quantise(weight)[0] for weight, layer in zip(self._before, view.layers, strict=True) if not layer.plastic]
        arrays: dict[str, np.ndarray] = {
            "genome": self._genome,
            "points": (points + 1).astype(np.float32),
            "still": np.concatenate([np.zeros(0, np.int8), *still]),
            **curves,
            **{name: np.stack([kept["arrays"][name] for kept in self._kept]) for name in self._kept[0]["arrays"]},
        }
        total = float(sum(float(curve["reward"]) for curve in self._curves))
        return {
            "steps": self._count,
            "stride": self._stride,
            "kept": [kept["step"] for kept in self._kept],
            "total": total if math.isfinite(total) else None,
            "window": view.window,
            "normalised": view.plasticity.normalise == "max",
            "plastic": view.plastic,
            **describe(view),
            "saturated": SATURATED,
            "groups": [{"name": g.name, "shape": g.shape, "block": self._block(g.name)} for g in view.groups],
            "layers": [
                {
                    "name": f"{'kernels' if layer.geometry else 'weights'} {layer.name}",
                    "label": label,
                    **{name: getattr(layer, name) for name in ("pre", "post", "delay", "shape", "plastic")},
                    "synapses": self._block(view.synapses(layer)),
                    "terms": view.term_names(layer),
                }
                for layer, label in zip(view.layers, view.labels, strict=True)
            ],
            "held": [{"kind": h.kind, "name": h.name, "group": h.group, "layer": h.layer, "size": h.size} for h in view.held],
            "arrays": {name: pack(array) for name, array in arrays.items()},
            "frames": _pack_frames([kept["frame"] for kept in self._kept]),
        }

    def _measure(self, reward: float, weights: list[np.ndarray], activations: list[np.ndarray], held: list[np.ndarray]) -> dict[str, Any]:
        view = self.view
        widest = max(len(view.term_names(layer)) for layer in view.layers)
        terms = np.zeros((len(view.layers), widest))
        for k, found in enumerate(view.terms(view.rule_inputs(), self._before)):
            if found is not None:
                terms[k, : len(found)] = found
        with np.errstate(invalid="ignore", over="ignore"):
            curves: dict[str, Any] = {
                "reward": np.float32(reward),
                "norm": np.array([np.linalg.norm(w.astype(np.float64)) for w in weights]),
                "change": np.array([np.abs(w - b, dtype=np.float64).sum() for w, b in zip(weights, self._before, strict=True)]),
                "terms": terms,
                "saturation": np.array([(np.abs(a) > SATURATED).mean() for a in activations]),
                "saturated_weights": np.array([(np.abs(w) > SATURATED).mean() for w in weights]),
            }
            traces = [np.linalg.norm(v.astype(np.float64)) for v, h in zip(held, view.held, strict=True) if h.kind == "trace"]
        if traces:
            curves["trace"] = np.array(traces)
        if view.plasticity.modulate is not None:
            curves["modulation"] = np.float32(self._modulation(reward))
        return curves

    def _modulation(self, reward: float) -> float:
        """m(t): the reward, or the reward above its running mean."""
        if self.view.plasticity.modulate == "reward":
            return reward
        gain = reward - self._baseline
        self._baseline += self.view.plasticity.beta * gain
        return gain

    def _keep(self, weights: list[np.ndarray], activations: list[np.ndarray], held: list[np.ndarray], frame: Any) -> None:
        codes, scales = zip(*map(quantise, weights), strict=True)
        moving = [c for c, layer in zip(codes, self.view.layers, strict=True) if layer.plastic]
        seen, seen_scales = zip(*map(quantise, activations), strict=True)
        arrays = {
            "weights": np.concatenate([np.zeros(0, np.int8), *moving]),
            "scales": np.array(scales, np.float32),
            "activations": np.concatenate(seen),
            "activation_scales": np.array(seen_scales, np.float32),
        }
        if self.view.window:
            past = self.view.past()
            arrays["window"] = np.concatenate([_by_scale(p, s) for p, s in zip(past, seen_scales, strict=True)], axis=1)
        if held:
            numbers, held_scales = zip(*map(quantise, held), strict=True)
            arrays |= {"held": np.concatenate(numbers), "held_scales": np.array(held_scales, np.float32)}
        self._kept.append({"step": self._count + 1, "arrays": arrays, "frame": None if frame is None else _jpeg(frame)})
        if len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._stride *= 2

    def _block(self, name: str | None) -> dict[str, Any] | None:
        if name is None or name not in self._layout:
            return None
        block = self._layout.block(name)
        return {"start": block.start, "parameters": block.parameters}


def quantise(values: Float[np.ndarray, " n"]) -> tuple[Int8[np.ndarray, " n"], float]:
    """Codes in [-127, 127] and the scale, with value = code / 127 * scale; the code is `NOT_FINITE` where the value is not finite."""
    finite = np.isfinite(values)
    scale = float(np.abs(values[finite]).max(initial=0))
    return _by_scale(values, scale), scale


def pack(array: np.ndarray) -> dict[str, Any]:
    """An int8 or float32 array as JSON: type, shape, and its little-endian bytes, deflated, in base64."""
    assert array.dtype in (np.int8, np.float32)
    data = zlib.compress(array.astype(array.dtype.newbyteorder("<")).tobytes(), 6)
    return {"type": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode()}


def _by_scale(values: np.ndarray, scale: float) -> np.ndarray:
    finite = np.isfinite(values)
    codes = np.zeros(values.shape) if scale == 0 else np.where(finite, values, 0).astype(np.float64) / scale * 127
    return np.where(finite, codes.round().clip(-127, 127), NOT_FINITE).astype(np.int8)


def _jpeg(frame: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    """The frame as JPEG, at most `_FRAME_WIDTH` wide, and its (width, height)."""
    image = require("PIL.Image", "report").fromarray(np.ascontiguousarray(frame))
    if image.width > _FRAME_WIDTH:
        image = image.resize((_FRAME_WIDTH, max(1, round(image.height * _FRAME_WIDTH / image.width))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_FRAME_QUALITY)
    return buffer.getvalue(), image.size


def _pack_frames(frames: list[tuple[bytes, tuple[int, int]] | None]) -> dict[str, Any] | None:
    """All frames concatenated, with the offset at which each ends; a step without a frame has no bytes."""
    drawn = [frame for frame in frames if frame is not None]
    if not drawn:
        return None
    ends = np.cumsum([0 if frame is None else len(frame[0]) for frame in frames])
    data = b"".join(frame[0] for frame in drawn)
    width, height = drawn[0][1]
    return {"width": width, "height": height, "ends": ends.tolist(), "data": base64.b64encode(data).decode()}
