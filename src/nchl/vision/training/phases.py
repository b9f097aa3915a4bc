"""The phases of an experiment: unsupervised layers, a linear head on kept features, or backpropagation end to end.

A phase is a number of epochs of steps. Each step is a function of the phase's state, the images and the named random numbers alone,
so that a resumed run has the same result as an uninterrupted one.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from nchl.errors import InvalidArgument
from nchl.vision.data.images import Images
from nchl.vision.networks.classifier import Classifier, backprop_mode, naming, until_last_learning
from nchl.vision.networks.layers import softhebb_layers
from nchl.vision.training.features import CHUNK, half
from nchl.vision.training.schedule import dropped, halved_lr


class Score(NamedTuple):
    """The contribution of a step to its epoch: summed loss and number of correctly classified images, if there are labels."""

    loss: float = 0.0
    correct: int = 0


class Phase(abc.ABC):
    """A phase as the experiment's loop uses it. The defaults are those of a phase without labels and without state.

    Attributes:
        name: name in messages and metrics.
        epochs: number of epochs.
        batch_size: images per step.
        labelled: whether steps use labels.
    """

    name: str
    labelled = False

    def __init__(self, classifier: Classifier, *, epochs: int, batch_size: int) -> None:
        self._classifier, self.epochs, self.batch_size = classifier, epochs, batch_size

    @abc.abstractmethod
    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """Learn from some of the training images."""

    def lr(self, epoch: int) -> float | None:
        """The learning rate of an epoch, if it is the same for all parameters."""
        return None

    def validate(self, epoch: int) -> float | None:
        """Called after each epoch; returns the accuracy on the validation images, if there are any."""
        return None

    def finish(self) -> None:
        """Called after the last epoch: leave the network in evaluation mode."""
        self._classifier.eval()

    def chosen(self) -> tuple[int | None, float | None]:
        """The epoch whose head is scored, counted from 1, and its accuracy on the validation images; None where there is none."""
        return None, None

    def state(self) -> dict[str, np.ndarray]:
        """The state on which the next step depends, besides the network."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:  # noqa: B027  no state by default
        """The inverse of `state`."""


class Unsupervised(Phase):
    """SoftHebb learning of all blocks together, or of one block on the finished blocks before it."""

    def __init__(self, classifier: Classifier, images: Images, *, epochs: int, batch_size: int, block: int | None = None) -> None:
        super().__init__(classifier, epochs=epochs, batch_size=batch_size)
        self.name = "unsupervised" if block is None else f"unsupervised-{block + 1}"
        self._images, self._device = images, next(classifier.parameters()).device
        blocks = list(classifier.blocks)
        self._below = nn.Sequential(*blocks[: block or 0])
        found = until_last_learning(blocks if block is None else [blocks[block]])
        self._learning = nn.ModuleList(module for _, module in found)
        self._numbers = [(block or 0) + index for index, _ in found]

    @torch.no_grad()
    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """See `Phase`."""
        self._classifier.eval()
        self._learning.train()
        x = self._below(self._images.batch(indices, self._device))
        for number, module in zip(self._numbers, self._learning, strict=True):
            with naming(number, module, len(indices), "--batch-size"):
                x = module(x)
        return Score()


class Statistics(Unsupervised):
    """A pass over the images for random layers, in which only BatchNorm's statistics change; features need them.

    They are the averages over all steps. A running average would keep most of the initial mean and variance if there are few images.
    """

    def __init__(self, classifier: Classifier, images: Images) -> None:
        super().__init__(classifier, images, epochs=1, batch_size=CHUNK)
        self.name = "statistics"

    @torch.no_grad()
    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """See `Phase`; no layer learns."""
        layers = softhebb_layers(self._classifier)
        norms = [module for module in self._learning.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
        momenta = [norm.momentum for norm in norms]
        for layer in layers:
            layer.plastic = False
        for norm in norms:
            norm.momentum = None  # torch then averages over the steps that `num_batches_tracked` counts, which checkpoints hold
            if batch == 0:
                norm.reset_running_stats()
        try:
            return super().step(epoch, batch, indices)
        finally:
            for layer in layers:
                layer.plastic = True
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


class _Supervised(Phase):
    """Training by Adam with the published halvings; with validation images, the best state on them is kept."""

    labelled = True

    def __init__(
        self,
        classifier: Classifier,
        trained: nn.Module,
        labels: Tensor,
        *,
        epochs: int,
        batch_size: int,
        lr: float,
        dropout: float,
        seed: int,
    ) -> None:
        super().__init__(classifier, epochs=epochs, batch_size=batch_size)
        self._trained, self._labels = trained, labels
        self._lr, self._dropout, self._seed = lr, dropout, seed
        self._parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
        self._adam = torch.optim.Adam(self._parameters, lr=lr)
        self._best: dict[str, Tensor] = {}
        self.best_accuracy, self.best_epoch = -1.0, -1

    def lr(self, epoch: int) -> float | None:
        """See `Phase`."""
        return halved_lr(self._lr, epoch, self.epochs)

    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """See `Phase`."""
        for group in self._adam.param_groups:
            group["lr"] = halved_lr(self._lr, epoch, self.epochs)
        features = dropped(self.inputs(indices), self._dropout, self._seed, epoch, batch)
        scores = self._classifier.head(features)
        labels = self._labels[indices].to(scores.device)
        loss = F.cross_entropy(scores, labels)
        if not bool(torch.isfinite(loss)):
            raise InvalidArgument(f"the loss of epoch {epoch + 1} is not finite; use a smaller --lr-head than {self._lr:g}, or BatchNorm")
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()
        return Score(float(loss.detach()) * len(indices), int((scores.detach().argmax(dim=1) == labels).sum()))

    @abc.abstractmethod
    def inputs(self, indices: Tensor) -> Tensor:
        """The features of some training images."""

    @abc.abstractmethod
    def validation_accuracy(self) -> float | None:
        """The present accuracy on the validation images, if there are any."""

    def validate(self, epoch: int) -> float | None:
        """See `Phase`."""
        accuracy = self.validation_accuracy()
        if accuracy is not None and accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, epoch + 1
            self._best = {name: value.detach().clone() for name, value in self._trained.state_dict().items()}
        return accuracy

    def finish(self) -> None:
        """See `Phase`; with validation images, the best state is restored."""
        if self._best:
            self._trained.load_state_dict(self._best)
        super().finish()

    def chosen(self) -> tuple[int | None, float | None]:
        """See `Phase`."""
        return (self.best_epoch, self.best_accuracy) if self._best else (self.epochs, None)

    def state(self) -> dict[str, np.ndarray]:
        """See `Phase`."""
        arrays = {f"best.{name}": value.cpu().numpy() for name, value in self._best.items()}
        arrays["best"] = np.array([self.best_accuracy, self.best_epoch], dtype=np.float64)
        for index, parameter in enumerate(self._parameters):
            arrays |= {f"adam.{index}.{name}": value.cpu().numpy() for name, value in self._adam.state.get(parameter, {}).items()}
        return arrays

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """See `Phase`."""
        if "best" in state:
            self.best_accuracy, self.best_epoch = float(state["best"][0]), int(state["best"][1])
        own = self._trained.state_dict()
        self._best = {
            name[5:]: torch.from_numpy(value).to(own[name[5:]].device) for name, value in state.items() if name.startswith("best.")
        }
        for index, parameter in enumerate(self._parameters):
            start = f"adam.{index}."
            found = {name.removeprefix(start): torch.from_numpy(np.array(value)) for name, value in state.items() if name.startswith(start)}
            if found:
                # Adam keeps the step counter on the CPU; the moments take the memory format of their parameter.
                self._adam.state[parameter] = {
                    name: value if name == "step" else torch.empty_like(parameter).copy_(value) for name, value in found.items()
                }


class Head(_Supervised):
    """Training of the linear head, on features that were computed once."""

    name = "head"

    def __init__(
        self, classifier: Classifier, features: Tensor, labels: Tensor, validation: tuple[Tensor, Tensor] | None, **settings: float
    ) -> None:
        super().__init__(classifier, classifier.head, labels, **settings)  # type: ignore[arg-type]
        self._features, self._validation = features, validation

    def inputs(self, indices: Tensor) -> Tensor:
        """See `_Supervised`."""
        return self._features[indices].to(self._classifier.head.weight.device).float()

    def validation_accuracy(self) -> float | None:
        """See `_Supervised`."""
        if self._validation is None:
            return None
        features, labels = self._validation
        predicted = [predict_features(self._classifier, features[start : start + CHUNK]) for start in range(0, len(labels), CHUNK)]
        return float((torch.cat(predicted) == labels).double().mean())


class Backprop(_Supervised):
    """Training of the same network end to end by gradients, as a baseline."""

    name = "backprop"

    def __init__(self, classifier: Classifier, images: Images, validation: Images | None, **settings: float) -> None:
        backprop_mode(classifier)
        super().__init__(classifier, classifier, images.labels, **settings)  # type: ignore[arg-type]
        self._images, self._validation = images, validation

    def inputs(self, indices: Tensor) -> Tensor:
        """See `_Supervised`."""
        self._classifier.train()
        x = self._images.batch(indices, self._classifier.head.weight.device)
        for number, block in enumerate(self._classifier.blocks):
            with naming(number, block, len(indices), "--batch-size-head"):
                x = block(x)
        return x.flatten(1)

    def validation_accuracy(self) -> float | None:
        """See `_Supervised`."""
        if self._validation is None:
            return None
        return float((predict(self._classifier, self._validation) == self._validation.labels).double().mean())


@torch.no_grad()
def predict(classifier: Classifier, images: Images, advance: Callable[[int], None] | None = None) -> Tensor:
    """The predicted class of each image, in evaluation mode; features are rounded to half precision, as in training."""
    classifier.eval()
    device, found = classifier.head.weight.device, []
    for start in range(0, len(images), CHUNK):
        found.append(predict_features(classifier, half(classifier.extract(images.batch(slice(start, start + CHUNK), device)))))
        if advance is not None:
            advance(min(start + CHUNK, len(images)))
    return torch.cat(found)


@torch.no_grad()
def predict_features(classifier: Classifier, features: Tensor) -> Tensor:
    """The predicted class of each image from its features."""
    scores: Tensor = classifier.head(features.to(classifier.head.weight.device).float())
    return scores.argmax(dim=1).cpu()


def norm_distance(classifier: Classifier) -> float:
    """Mean of | |W_o| - 1 | over all units of all SoftHebb layers; it approaches 0 as they converge."""
    norms = torch.cat([torch.linalg.vector_norm(layer.weight.detach().flatten(1), dim=1) for layer in softhebb_layers(classifier)])
    return float((norms - 1).abs().mean())
