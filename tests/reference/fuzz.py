"""Cases by the thousand for everything that reads or takes what a user gives; only documented errors may come out.

A target is a strategy of cases and a check of one case. `fuzz(name, cases, ...)` plays them; the tests play a few hundred, always
the same, `benchmarks/soak.py fuzz` thousands of new ones.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import nchl
from nchl.cli import VERBS, main
from nchl.errors import CheckpointError, NchlError
from nchl.runs.files.tensors import read_tensors, write_tensors
from nchl.runs.search.evolution import build
from nchl.runs.session.run import run
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.sinks.tensorboard import EventFile
from nchl.runs.store.checkpoints import read_newest
from nchl.runs.store.folder import RunFolder
from nchl.runs.store.metrics import MetricsFile, read_metrics

EXIT_CODES = (0, 2, 130, 143)

texts = st.text(max_size=20) | st.sampled_from(
    ["", "nan", "inf", "1e999", "../..", "/dev/zero", "a" * 5000, "FILE.py:NAME", "\ud800", "\x1b[2J"]
)
numbers = st.integers() | st.floats(allow_subnormal=False) | st.sampled_from([2**31, 2**63, -1, 0, 10**400])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def _array(shape: tuple[int, ...], dtype: str, fill: float, bits: bytes | None) -> np.ndarray:
    """An array of one number, or of any bits at all."""
    with np.errstate(all="ignore"):
        content = np.array([fill]).astype(dtype) if bits is None else np.frombuffer(bits, dtype)
    return np.resize(content, shape)


arrays = st.builds(
    _array,
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
    st.sampled_from(["float64", "float32", "float16", "int64", "int8", "uint8", "bool"]),
    st.sampled_from([0.0, 1.0, -1e30, 1e-30, math.pi]),
    st.none() | st.binary(min_size=16, max_size=16),
)


class Workspace:
    """Fixtures of the targets, made once: a small finished run and objects built from it.

    Args:
        folder: an empty folder; everything stays below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        config = EvolveConfig.create("CartPole-v1", hidden=(3,), population=4, generations=2, normalise_observations=True)
        run(config, self.run)
        self.agent, _ = nchl.load(self.run)
        self.evolution = build(config)
        checkpoint, _ = read_newest(self.run / "checkpoints")
        assert checkpoint is not None
        self.state = (checkpoint.tensors, checkpoint.about)
        self.record = json.loads((self.run / "config.json").read_text())
        self.checkpoint = max((self.run / "checkpoints").iterdir()).read_bytes()
        self.events = next((self.run / "tensorboard").iterdir()).read_bytes()
        self.metrics = (self.run / "metrics.csv").read_bytes()
        torch.set_flush_denormal(False)  # the run has set it, and hypothesis counts on such numbers

    def fresh(self, name: str) -> Path:
        """An empty folder of that name."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


@dataclass(frozen=True)
class Target:
    """Cases and their check; any exception of a check other than `NchlError` is a defect."""

    cases: st.SearchStrategy[Any]
    check: Callable[[Workspace, Any], None]


def _config(workspace: Workspace, changes: dict[str, Any]) -> None:
    settings = workspace.record["settings"] | changes
    config = EvolveConfig.from_json(settings)
    assert EvolveConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def _edited(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    """Replace, cut and insert at relative places."""
    for place, new, removed in edits:
        at = int(place * len(data))
        data = data[:at] + new + data[at + removed :]
    return data


edits = st.lists(st.tuples(st.floats(0, 1, allow_subnormal=False), st.binary(max_size=12), st.integers(0, 40)), min_size=1, max_size=4)


def _record(workspace: Workspace, case: Any) -> None:
    folder = workspace.fresh("record")
    kind, content = case
    if kind == "edited":
        data = _edited((workspace.run / "config.json").read_bytes(), content)
    elif kind == "replaced":
        key, value = content
        data = json.dumps(workspace.record | {key: value}).encode()
    else:
        data = content
    (folder / "config.json").write_bytes(data)
    RunFolder.open(folder).read_record()


def _genome(workspace: Workspace, case: Any) -> None:
    genome, length = case
    if length and isinstance(genome, np.ndarray):
        genome = np.resize(genome, workspace.agent.network.nparams)
    network = copy.deepcopy(workspace.agent.network)
    before = [weight.clone() for weight in network.weights]
    try:
        network.set_hrules(genome)
    except NchlError:
        assert all((old == new).all() for old, new in zip(before, network.weights, strict=True))
        raise
    network.reset()
    for _ in range(3):
        network.step(np_to_torch(np.ones(4), network.dtype))


def np_to_torch(array: np.ndarray, dtype: Any) -> Any:
    """A tensor of a network's type."""
    return torch.as_tensor(array, dtype=dtype)


def _observation(workspace: Workspace, case: Any) -> None:
    observation, fits = case
    if fits and isinstance(observation, np.ndarray):
        observation = np.resize(observation, (4,))
    workspace.agent.reset(seed=0)
    for _ in range(2):
        action = workspace.agent.act(observation)
        assert action in (0, 1)


def _checkpoint_bytes(workspace: Workspace, case: Any) -> None:
    folder = workspace.fresh("checkpoints")
    (folder / "generation-000002.safetensors").write_bytes(_edited(workspace.checkpoint, case))
    checkpoint, _ = read_newest(folder)
    assert checkpoint is not None
    workspace.evolution.restore(checkpoint.tensors, checkpoint.about)


def _checkpoint_content(workspace: Workspace, case: Any) -> None:
    """One that is whole, with a checksum that is right, and still not what a run wrote."""
    tensors, about = (dict(part) for part in workspace.state)
    for place, array, value, remove in case:
        names = sorted(tensors)
        if remove:
            tensors.pop(names[place % len(names)], None)
        elif array is not None:
            name = names[place % len(names)]
            tensors[name] = np.resize(array, tensors[name].shape) if place % 2 else array
        else:
            key = sorted(about)[place % len(about)]
            about[key] = value
    path = workspace.fresh("content") / "a.safetensors"
    write_tensors(path, tensors, about)
    try:
        workspace.evolution.restore(*read_tensors(path))
    except CheckpointError:
        workspace.evolution.restore(*workspace.state)  # a refused one must not stand in the way of a good one
        raise
    workspace.evolution.state()


def _tables(workspace: Workspace, case: Any) -> None:
    folder = workspace.fresh("tables")
    which, changes, keep = case
    if which == "metrics":
        path = folder / "metrics.csv"
        path.write_bytes(_edited(workspace.metrics, changes))
        with contextlib.closing(MetricsFile(path, keep=keep)):
            assert len(read_metrics(path)) <= max(keep, 2)
    else:
        (folder / "events.out.tfevents.0000000000.nchl").write_bytes(_edited(workspace.events, changes))
        events = EventFile(folder, keep=keep)
        events.write(keep + 1, {"a": 1.0}, {})
        events.close()


# The verbs' work is not tested here: some of it takes minutes or needs the network.
_VERBS = [name for name in VERBS if name not in ("bench", "doctor")]
_FLAGS = sorted(
    {option.flag for option in options()} | {"--json", "--out", "--help", "--which", "--controls", "--hiden", "--", "-x", "--run"}
)
_argument = (
    texts.filter(lambda text: "\0" not in text)
    | st.integers(-5, 40).map(str)
    | st.floats(allow_subnormal=False).map(str)
    | st.sampled_from(_FLAGS)
)
_words = st.lists(
    st.sampled_from(_FLAGS) | _argument | st.sampled_from(["CartPole-v1", "nchl", "conv-hml", "elite", "max", "RUN"]), max_size=7
)


def _command_line(workspace: Workspace, case: Any) -> None:
    verb, rest = case
    words = [str(workspace.run) if word == "RUN" else word for word in rest]
    if verb == "softhebb":
        words = ["./no-such-folder", *words]

    def stop(*_: Any, **__: Any) -> Any:
        raise NchlError("far enough")

    with contextlib.ExitStack() as stack:
        for place in ("nchl.runs.session.run.run", "nchl.runs.session.resume.resume", "nchl.vision.experiment.resume"):
            stack.enter_context(mock.patch(place, stop))
        stack.enter_context(mock.patch("nchl.vision.experiment.start", stop))
        stack.enter_context(contextlib.chdir(workspace.fresh("here")))
        out, err = (stack.enter_context(redirect(io.StringIO())) for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr))
        code = main([verb, *words])
    assert code in EXIT_CODES, (code, err.getvalue())
    assert not out.getvalue() or code == 0
    if code:
        raise NchlError(err.getvalue())


TARGETS = {
    "configs": Target(st.dictionaries(st.sampled_from([option.name for option in options()]) | texts, values, max_size=3), _config),
    "records": Target(
        st.tuples(st.just("edited"), edits)
        | st.tuples(
            st.just("replaced"),
            st.tuples(st.sampled_from(["format", "settings", "same_bits", "files", "versions", "command", "started", "x"]), values),
        )
        | st.tuples(st.just("bytes"), st.binary(max_size=60)),
        _record,
    ),
    "genomes": Target(st.tuples(arrays | values, st.booleans()), _genome),
    "observations": Target(st.tuples(arrays | values, st.booleans()), _observation),
    "checkpoints": Target(edits, _checkpoint_bytes),
    "checkpoint contents": Target(
        st.lists(st.tuples(st.integers(0, 40), st.none() | arrays, values, st.booleans()), min_size=1, max_size=3), _checkpoint_content
    ),
    "tables": Target(st.tuples(st.sampled_from(["metrics", "events"]), edits, st.integers(0, 3)), _tables),
    "command line": Target(st.tuples(st.sampled_from(_VERBS), _words), _command_line),
}


def fuzz(name: str, cases: int, workspace: Workspace, *, chance: int | None = None) -> tuple[int, int]:
    """Play cases of one target.

    Args:
        name: a key of `TARGETS`.
        cases: how many.
        workspace: see there.
        chance: seed of the cases; None: always the same ones.

    Returns:
        How many were played, and how many of them ended with a documented error.
    """
    played = refused = 0
    silent = False
    target = TARGETS[name]

    def one(case: Any) -> None:
        nonlocal played, refused, silent
        played += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, about numbers too large for a type
            try:
                target.check(workspace, case)
            except NchlError as error:
                refused += 1
                silent = silent or not str(error)

    play = settings(
        max_examples=cases,
        derandomize=chance is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )(given(target.cases)(one))
    (play if chance is None else seed(chance)(play))()
    assert not silent, "an error without a word"
    return played, refused
