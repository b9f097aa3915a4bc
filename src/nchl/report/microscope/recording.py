"""One lifetime under the microscope: what the weights, the activations and the rule's terms were, step by step, in few bytes.

Curves are taken at each step. Pictures (weights, activations, averages, traces, states of rules, the film's frame) are thinned
out: only every n-th step is kept, n doubling whenever there are too many, so that a life of any length fits. Weights are kept as
8-bit numbers with one scale for each layer and moment: what is shown differs from what was by at most 0.4 % of the layer's largest
weight.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int8

from nchl.errors import InvalidArgument, require
from nchl.networks.base import PlasticNetwork
from nchl.report.microscope.anatomy import Anatomy
from nchl.report.microscope.description import told

MOMENTS = 250  # pictures of one life at most
BUDGET = 8 << 20  # bytes of all pictures together, before they are packed
FEWEST = 8  # with fewer moments there is nothing to watch
SATURATED = 0.95
NOT_FINITE = -128  # the code of a weight that is not a finite number

_POINTS = 1000  # of a curve
_FRAME_WIDTH = 320
_FRAME_QUALITY = 80


class Moment(Protocol):
    """What a step of a life must tell; `nchl.rollout.watch.Moment` does."""

    @property
    def step(self) -> int:
        """Number of the step, from 1 or 0: only its order matters."""

    @property
    def observation(self) -> Any:
        """What the network saw."""

    @property
    def reward(self) -> float:
        """What it got."""

    @property
    def frame(self) -> Any:
        """A picture `(height, width, 3)` of bytes, or None."""


class Microscope:
    """Looks at a network while it lives.

        microscope = Microscope(network)
        for moment in watch(network, stage, draw=microscope.wants_frame):
            microscope.look(moment)
        data = microscope.recording()

    Args:
        network: of one individual, at the beginning of its life.
        moments: pictures to keep at most.

    Raises:
        InvalidArgument: a network so large that fewer than `FEWEST` pictures fit.
    """

    def __init__(self, network: PlasticNetwork, moments: int = MOMENTS) -> None:
        self.anatomy = Anatomy(network)
        self._genome = network.genome.detach().cpu().numpy().reshape(-1).astype(np.float32)
        self._layout = network.layout
        neurons = sum(group.size for group in self.anatomy.groups)
        each = sum(layer.size for layer in self.anatomy.layers if layer.plastic) + neurons * (1 + self.anatomy.window)
        each += sum(held.size for held in self.anatomy.held)
        self._most = min(moments, BUDGET // max(each, 1))
        if self._most < FEWEST:
            raise InvalidArgument(
                f"a moment of this network takes {each:,} bytes, so that {self._most} fit the page; the microscope needs {FEWEST}"
            )
        self._stride = 1
        self._count = 0
        self._kept: list[dict[str, Any]] = []
        self._curves: list[dict[str, Any]] = []
        self._before = self.anatomy.weights()
        self._earlier = [np.zeros(group.size, np.float32) for group in self.anatomy.groups]
        self._baseline = 0.0

    def wants_frame(self, step: int) -> bool:
        """Whether the film's frame is needed at this step, counted from 0; fit for `watch(draw=...)`."""
        return step % self._stride == 0

    def look(self, moment: Moment) -> None:
        """Take in one step that has just been made, the rule's update included (by this step's reward, if it needs one)."""
        weights = self.anatomy.weights()
        activations = self.anatomy.activations(moment.observation)
        held = self.anatomy.keeps(self._earlier)
        self._curves.append(self._measure(float(moment.reward), weights, activations, held))
        if self._count % self._stride == 0:
            self._keep(weights, activations, held, moment.frame)
        self._before, self._earlier = weights, activations
        self._count += 1

    def recording(self) -> dict[str, Any]:
        """Everything that the page's script needs, as a JSON object; arrays are deflated and in base64."""
        if not self._kept:
            raise InvalidArgument("the microscope has not looked at any step yet")
        anatomy = self.anatomy
        points = np.unique(np.linspace(0, self._count - 1, min(self._count, _POINTS)).round().astype(np.int64))
        curves = {name: np.stack([self._curves[p][name] for p in points]).astype(np.float32) for name in self._curves[0]}
        still = [quantise(weight)[0] for weight, layer in zip(self._before, anatomy.layers, strict=True) if not layer.plastic]
        arrays: dict[str, np.ndarray] = {
            "genome": self._genome,
            "points": (points + 1).astype(np.float32),
            "weights": np.stack([kept["weights"] for kept in self._kept]),
            "still": np.concatenate([np.zeros(0, np.int8), *still]),
            "scales": np.array([kept["scales"] for kept in self._kept], dtype=np.float32),
            "activations": np.stack([kept["activations"] for kept in self._kept]),
            "activation_scales": np.array([kept["activation_scales"] for kept in self._kept], dtype=np.float32),
            **curves,
        }
        for name in ("window", "held"):
            if name in self._kept[0]:
                arrays[name] = np.stack([kept[name] for kept in self._kept])
        if anatomy.held:
            arrays["held_scales"] = np.array([kept["held_scales"] for kept in self._kept], dtype=np.float32)
        total = float(sum(float(curve["reward"]) for curve in self._curves))
        return {
            "steps": self._count,
            "stride": self._stride,
            "kept": [kept["step"] for kept in self._kept],
            "total": total if math.isfinite(total) else None,
            "window": anatomy.window,
            "normalised": anatomy.normalised,
            "plastic": anatomy.plastic,
            **told(anatomy),
            "saturated": SATURATED,
            "groups": [{"name": g.name, "shape": g.shape, "block": self._block(g.name)} for g in anatomy.groups],
            "layers": [
                {
                    "name": layer.name,
                    "label": layer.label,
                    "pre": layer.pre,
                    "post": layer.post,
                    "delay": layer.delay,
                    "shape": layer.shape,
                    "plastic": layer.plastic,
                    "synapses": None if layer.synapses is None else self._block(layer.synapses),
                    "terms": anatomy.term_names(layer),
                }
                for layer in anatomy.layers
            ],
            "held": [{"kind": h.kind, "name": h.name, "group": h.group, "layer": h.layer, "size": h.size} for h in anatomy.held],
            "arrays": {name: pack(array) for name, array in arrays.items()},
            "frames": _pack_frames([kept["frame"] for kept in self._kept]),
        }

    def _measure(self, reward: float, weights: list[np.ndarray], activations: list[np.ndarray], held: list[np.ndarray]) -> dict[str, Any]:
        anatomy = self.anatomy
        widest = max(len(anatomy.term_names(layer)) for layer in anatomy.layers)
        terms = np.zeros((len(anatomy.layers), widest))
        for k, found in enumerate(anatomy.terms(anatomy.ends(), self._before)):
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
            traces = [np.linalg.norm(v.astype(np.float64)) for v, h in zip(held, anatomy.held, strict=True) if h.kind == "trace"]
        if traces:
            curves["trace"] = np.array(traces)
        if anatomy.plasticity.modulate is not None:
            curves["modulation"] = np.float32(self._modulation(reward))
        return curves

    def _modulation(self, reward: float) -> float:
        """m(t): the reward, or what it is above its running mean."""
        if self.anatomy.plasticity.modulate == "reward":
            return reward
        gain = reward - self._baseline
        self._baseline += self.anatomy.plasticity.beta * gain
        return gain

    def _keep(self, weights: list[np.ndarray], activations: list[np.ndarray], held: list[np.ndarray], frame: Any) -> None:
        codes, scales = zip(*map(quantise, weights), strict=True)
        moving = [c for c, layer in zip(codes, self.anatomy.layers, strict=True) if layer.plastic]
        seen, seen_scales = zip(*map(quantise, activations), strict=True)
        kept: dict[str, Any] = {
            "step": self._count + 1,
            "weights": np.concatenate(moving) if moving else np.zeros(0, np.int8),
            "scales": scales,
            "activations": np.concatenate(seen),
            "activation_scales": seen_scales,
            "frame": None if frame is None else _jpeg(frame),
        }
        if self.anatomy.window:
            past = self.anatomy.past()
            kept["window"] = np.concatenate([_by_scale(p, s) for p, s in zip(past, seen_scales, strict=True)], axis=1)
        if held:
            numbers, kept["held_scales"] = zip(*map(quantise, held), strict=True)
            kept["held"] = np.concatenate(numbers)
        self._kept.append(kept)
        if len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._stride *= 2

    def _block(self, name: str) -> dict[str, Any] | None:
        if name not in self._layout:
            return None
        block = self._layout.block(name)
        return {"start": block.start, "parameters": block.parameters}


def record(network: PlasticNetwork, life: Iterable[Moment], microscope: Microscope | None = None) -> dict[str, Any]:
    """Look at each step of a life; see `Microscope.recording` for what comes back."""
    microscope = Microscope(network) if microscope is None else microscope
    for moment in life:
        microscope.look(moment)
    return microscope.recording()


def quantise(values: Float[np.ndarray, " n"]) -> tuple[Int8[np.ndarray, " n"], float]:
    """Codes in [-127, 127] and the scale for which `code / 127 * scale` is the value; `NOT_FINITE` where it is not finite."""
    finite = np.isfinite(values)
    scale = float(np.abs(values[finite]).max(initial=0))
    return _by_scale(values, scale), scale


def pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON: type, shape, and its bytes deflated and in base64."""
    kinds = {"int8": "int8", "float32": "float32"}
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(zlib.compress(plain.tobytes(), 6)).decode()
    return {"type": kinds[array.dtype.name], "shape": list(array.shape), "data": data}


def _by_scale(values: np.ndarray, scale: float) -> np.ndarray:
    finite = np.isfinite(values)
    codes = np.zeros(values.shape) if scale == 0 else np.where(finite, values, 0).astype(np.float64) / scale * 127
    return np.where(finite, codes.round().clip(-127, 127), NOT_FINITE).astype(np.int8)


def _jpeg(frame: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    """The frame at a width of at most `_FRAME_WIDTH`, as JPEG, and its size."""
    image = require("PIL.Image", "report").fromarray(np.ascontiguousarray(frame))
    if image.width > _FRAME_WIDTH:
        image = image.resize((_FRAME_WIDTH, max(1, round(image.height * _FRAME_WIDTH / image.width))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_FRAME_QUALITY)
    return buffer.getvalue(), image.size


def _pack_frames(frames: list[tuple[bytes, tuple[int, int]] | None]) -> dict[str, Any] | None:
    """All pictures in one stretch of bytes, with the end of each; a moment without one has an empty stretch."""
    drawn = [frame for frame in frames if frame is not None]
    if not drawn:
        return None
    ends = np.cumsum([0 if frame is None else len(frame[0]) for frame in frames])
    data = b"".join(frame[0] for frame in drawn)
    width, height = drawn[0][1]
    return {"width": width, "height": height, "ends": ends.tolist(), "data": base64.b64encode(data).decode()}
