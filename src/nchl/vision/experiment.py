"""An experiment from images to test accuracy: phases in order, resumable at every step; the test set is scored once at the end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nchl.errors import RunError
from nchl.runs.files.lock import locked
from nchl.runs.files.tensors import write_tensors
from nchl.runs.files.writing import write_json
from nchl.runs.provenance.machine import check_same_bits
from nchl.runs.session.signals import Signals, ended_by_signals
from nchl.runs.store import trust
from nchl.runs.store.code_copy import Code
from nchl.user_code import is_place, load_object, using
from nchl.vision.data.images import Images, hold_out, load_images
from nchl.vision.networks.classifier import Classifier, build, learns
from nchl.vision.records import pictures
from nchl.vision.records.folder import Position, VisionRun, exists_already, timed
from nchl.vision.records.progress import Reporter as Reporter
from nchl.vision.records.summary import confusion_of, metrics_row, progress_text, summarise
from nchl.vision.settings import SoftHebbSettings
from nchl.vision.training import torch_setup
from nchl.vision.training.features import check_room, compute_features, feature_bytes, size_text
from nchl.vision.training.phases import Backprop, Head, Phase, Statistics, Unsupervised, norm_distance, predict
from nchl.vision.training.reused_layers import load_layers, with_network
from nchl.vision.training.schedule import count_batches, drawing, epoch_order, order_stream, step_bounds


def start(settings: SoftHebbSettings, path: Path, reporter: Reporter | None = None) -> dict[str, Any]:
    """Run a new experiment and return its summary.

    Args:
        settings: the settings of the experiment.
        path: the run folder, which must not exist.
        reporter: receives the progress.

    Raises:
        InvalidArgument: the data or the settings cannot be used.
        RunError: the folder exists already, or cannot be written to.
    """
    torch_setup.use(settings.device, settings.threads)
    if path.exists():
        raise exists_already(path)
    if is_place(settings.network):
        load_object(str(settings.network), "a network")  # a mistake is reported before all images are decoded
    settings, code, layers_settings, said = with_network(settings.with_absolute_paths())
    experiment = _Experiment(settings, code, reporter or Reporter())  # before the folder is made, so that an error leaves no folder
    experiment.check_room(path)
    saved = experiment.after_loaded_layers()
    trust.remember((), code.texts)
    run = VisionRun.create(path, settings, torch_setup.same_bits(settings.device), experiment.data.digest, code, layers_settings)
    if saved is not None:
        run.save(*saved)  # resuming does not need the other folder
    with locked(path) as notes, ended_by_signals() as signals:
        return experiment.run(run, saved, signals, [*said, *notes])


def resume(
    path: Path,
    reporter: Reporter | None = None,
    *,
    allow_other_machine: bool = False,
    device: str | None = None,
    features: str | None = None,
) -> dict[str, Any]:
    """Resume an experiment that was stopped or killed; the result is bit-identical to that of an uninterrupted one.

    Args:
        path: the run folder.
        reporter: receives the progress.
        allow_other_machine: accept a machine on which the result is not bit-identical.
        device: replaces the run's own in this session.
        features: likewise; no bit depends on it.

    Raises:
        InvalidArgument: the device is not available, or the method is backpropagation, which keeps no features.
        RunError: no such run, it is finished, another process is writing to it, its images have changed, or the result would not be
            bit-identical on this machine (and `allow_other_machine` is False).
    """
    if not (path / "config.json").is_file():
        VisionRun.open(path)  # raises the error, without a lock file in a folder that is no run
    with locked(path) as notes:
        changes = {name: value for name, value in (("device", device), ("features", features)) if value is not None}
        return _resume(path, reporter or Reporter(), allow_other_machine, changes, notes)


def _resume(path: Path, reporter: Reporter, allow_other_machine: bool, changes: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    run, settings, before = VisionRun.open(path, goes_on=True)
    if (path / "summary.json").exists():
        raise RunError(f"{path} is finished: see {path / 'summary.json'}")
    settings = dataclasses.replace(settings, **changes)
    threads = before.get("threads", "")
    torch_setup.use(settings.device, int(threads) if threads.isdigit() else settings.threads, recorded="device" not in changes)
    check_same_bits(before, torch_setup.same_bits(settings.device), allow=allow_other_machine)
    experiment = _Experiment(settings, run.code, reporter)
    saved = run.newest() or experiment.after_loaded_layers()
    run.check_images(experiment.data.digest, settings.data)
    notes = [*notes, *run.notes, *run.begin_session()]
    with ended_by_signals() as signals:
        return experiment.run(run, saved, signals, notes)


class _Experiment:
    """The data, the network, and the loop over phases."""

    def __init__(self, settings: SoftHebbSettings, code: Code, reporter: Reporter) -> None:
        self.settings, self.reporter = settings, reporter
        seed = settings.seed or 0
        reporter.say(f"reading {settings.data}")
        self.data = load_images(
            settings.data,
            convert=bool(settings.convert),
            skip_corrupt=bool(settings.skip_corrupt),
            test_fraction=settings.test_fraction,
            limit=settings.limit,
            seed=seed,
        )
        self.train: Images = self.data.train
        self.validation: Images | None = None
        if settings.validation:
            self.train, self.validation = hold_out(self.train, settings.validation, seed)
        with using(code.texts):
            classifier = build(
                code.places.get("network", str(settings.network)),
                self.data.image_shape,
                len(self.data.classes),
                seed=seed,
                sharing=settings.sharing,
                competition=settings.competition,
                lr=settings.lr,
            )
        self.classifier: Classifier = classifier.to(settings.device)
        for line in self.data.notes:
            reporter.say(line)
        _, height, width = self.data.image_shape
        sets = {"training": self.train, "validation": self.validation, "test": self.data.test}
        counted = ", ".join(f"{len(images):,} {name}" for name, images in sets.items() if images is not None)
        reporter.say(f"{counted} images of {height}x{width} in {len(self.data.classes)} classes")
        reporter.say(f"{settings.network}: {self.classifier.features:,} features")

    def after_loaded_layers(self) -> tuple[Position, dict[str, np.ndarray]] | None:
        """The state with the layers of the run `settings.layers`, after the first phase; None without `layers`."""
        if self.settings.layers is None:
            return None
        load_layers(self.classifier, self.settings.layers)
        return Position(phase=1), self._tensors(None)

    def check_room(self, path: Path) -> None:
        """Refuse features for which there is no room before the layers learn; backpropagation needs none."""
        if self.settings.method != "backprop":
            images = len(self.train) + (0 if self.validation is None else len(self.validation))
            check_room(feature_bytes(images, self.classifier.features), path if self.settings.features == "disk" else None)

    def run(
        self, run: VisionRun, saved: tuple[Position, dict[str, np.ndarray]] | None, signals: Signals, notes: list[str]
    ) -> dict[str, Any]:
        """Run from the start or a checkpoint to the summary."""
        self._signals = signals
        for line in notes:
            self.reporter.say(line)
        position, state = saved or (Position(), {})
        first = position.phase
        run.begin(position.rows)
        try:
            plans = self._plans(run, position)
            if first < len(plans):
                self.check_room(run.path)
            for number, make in enumerate(plans):
                if number >= first:
                    phase = self._made(make, state) if number == first and state else make()
                    self._phase(run, phase, number, position)
            if first == len(plans):
                self._restore_network(state)
            return self._score(run, position)
        finally:
            run.close()

    def _plans(self, run: VisionRun, position: Position) -> list[Callable[[], Phase]]:
        """Constructors of the phases, in order."""
        given, seed = self.settings, self.settings.seed or 0
        adam: dict[str, Any] = {
            "epochs": given.epochs_head,
            "batch_size": given.batch_size_head,
            "lr": given.lr_head,
            "dropout": given.dropout,
            "seed": seed,
        }
        if given.method == "backprop":
            return [lambda: Backprop(self.classifier, self.train, self.validation, **adam)]
        plans: list[Callable[[], Phase]] = []
        hebbian: dict[str, Any] = {"epochs": given.epochs_unsupervised, "batch_size": given.batch_size}
        if not given.epochs_unsupervised:
            plans.append(lambda: Statistics(self.classifier, self.train))
        elif given.schedule == "layerwise":
            blocks = (block for block, module in enumerate(self.classifier.blocks) if learns(module))
            plans += [functools.partial(Unsupervised, self.classifier, self.train, block=block, **hebbian) for block in blocks]
        else:
            plans.append(lambda: Unsupervised(self.classifier, self.train, **hebbian))

        def head() -> Phase:
            features = self._features(run, "training", self.train, position)
            validation = None
            if self.validation is not None:
                validation = (self._features(run, "validation", self.validation, position), self.validation.labels)
            return Head(self.classifier, features, self.train.labels, validation, **adam)

        return [*plans, head]

    def _features(self, run: VisionRun, what: str, images: Images, position: Position) -> Tensor:
        size = feature_bytes(len(images), self.classifier.features)
        where = "memory" if self.settings.features == "memory" else f"{run.path} on disk"
        self.reporter.say(
            f"features of the {what} images: {len(images):,} x {self.classifier.features:,} in half precision, {size_text(size)} in {where}"
        )
        self.reporter.start(f"{what} features", len(images))
        file = run.path / f"{what}-features.f16" if self.settings.features == "disk" else None
        with timed(position, "features"):
            return compute_features(self.classifier, images, file=file, device=str(self.settings.device), advance=self._advance)

    def _made(self, make: Callable[[], Phase], state: dict[str, np.ndarray]) -> Phase:
        """A phase in the state of a checkpoint."""
        if self.settings.method != "backprop":
            self._restore_network(state)  # the head's phase computes features with the network
        phase = make()  # backpropagation's phase draws new weights, so they are restored afterwards
        self._restore_network(state)
        phase.restore({name.removeprefix("phase."): value for name, value in state.items() if name.startswith("phase.")})
        return phase

    def _phase(self, run: VisionRun, phase: Phase, number: int, position: Position) -> None:
        """Run the rest of a phase, with checkpoints."""
        images, every = len(self.train), int(self.settings.checkpoint_every or 1)
        batches = count_batches(images, phase.batch_size)
        stream = order_stream(number, labelled=phase.labelled)
        seed, devices = self.settings.seed or 0, torch_setup.gpus(self.settings.device)
        self.reporter.start(phase.name, images * phase.epochs)
        while position.epoch < phase.epochs:
            order = epoch_order(seed, stream, position.epoch, images)
            while position.batch < batches:
                with self._signals.held():
                    with drawing(seed, stream, position.epoch, position.batch, devices):
                        self._step(phase, position, order[step_bounds(position.batch, batches, phase.batch_size, images)])
                    due = position.batch % every == 0 and position.batch < batches
                    if due and not phase.labelled:
                        self._row(run, phase, position, None)
                    if self._signals.received is not None:
                        self.reporter.say("stopping after this step")
                    if due or self._signals.received is not None:
                        run.save(position, self._tensors(phase))
                self._signals.drop_if_asked()
                self.reporter.advance(position.epoch * images + position.images, progress_text(phase, position))
            with timed(position, phase.name):
                validation = phase.validate(position.epoch)
            self._row(run, phase, position, validation)
            position.epoch, position.batch, position.loss, position.correct, position.images = position.epoch + 1, 0, 0.0, 0, 0
            if position.epoch < phase.epochs:
                run.save(position, self._tensors(phase))
        phase.finish()
        position.phase, position.epoch = number + 1, 0
        position.head_epoch, position.validation_accuracy = phase.chosen()
        run.save(position, self._tensors(None))
        self.reporter.say(f"{phase.name}: done in {position.seconds.get(phase.name, 0.0):.0f} s")

    def _advance(self, done: int) -> None:
        """Report progress within a computation that a resumed run repeats, and stop after a signal."""
        self._signals.drop_if_asked()
        self.reporter.advance(done)

    def _step(self, phase: Phase, position: Position, indices: Tensor) -> None:
        """One step of a phase, with its counters."""
        with timed(position, phase.name):
            score = phase.step(position.epoch, position.batch, indices)
        position.batch, position.steps = position.batch + 1, position.steps + 1
        position.loss, position.correct = position.loss + score.loss, position.correct + score.correct
        position.images += len(indices)

    def _row(self, run: VisionRun, phase: Phase, position: Position, validation: float | None) -> None:
        position.rows += 1
        run.row(metrics_row(phase, position, len(self.train), norm_distance(self.classifier), validation))

    def _score(self, run: VisionRun, position: Position) -> dict[str, Any]:
        """Score the test set and write the files of a finished run."""
        self.reporter.say(f"scoring the {len(self.data.test):,} test images")
        self.reporter.start("test images", len(self.data.test))
        with timed(position, "test"):
            predicted = predict(self.classifier, self.data.test, self._advance)
        confusion = confusion_of(self.data, predicted)
        summary = summarise(self.settings, run.layers_settings, self.data, self.classifier, position, len(self.train), confusion)
        about = {key: self.settings.to_json()[key] for key in ("network", "method", "seed")}
        write_tensors(
            run.path / "network.safetensors",
            self._tensors(None),
            about | {"image_shape": list(self.data.image_shape), "classes": self.data.classes},
        )
        try:
            pictures.draw(run.path, self.classifier, confusion.numpy(), self.data.classes)
        except Exception as error:  # any error of the drawing library; the result is more important than pictures
            self.reporter.say(f"the pictures could not be drawn ({type(error).__name__}: {error})")
        for kept in run.path.glob("*-features.*"):  # large files that only the head needed
            kept.unlink()
        write_json(run.path / "summary.json", summary)
        return summary

    def _tensors(self, phase: Phase | None) -> dict[str, np.ndarray]:
        arrays = {f"network.{name}": value.detach().cpu().numpy() for name, value in self.classifier.state_dict().items()}
        return arrays | ({} if phase is None else {f"phase.{name}": value for name, value in phase.state().items()})

    def _restore_network(self, state: dict[str, np.ndarray]) -> None:
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items() if name.startswith("network.")}
        self.classifier.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})
