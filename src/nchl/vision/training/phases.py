"""The phases of an experiment: unsupervised layers, a linear head on kept features, or backpropagation end to end.

A phase is a number of epochs of steps; each step is a function of the phase's state, the images and the named random
numbers alone, so that a run goes on from any step as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nchl.errors import InvalidArgument
from nchl.vision.data.images import Images
from nchl.vision.networks.classifier import Classifier, backprop_mode, until_last_learning
from nchl.vision.networks.layers import softhebb_layers
from nchl.vision.training.features import CHUNK, half
from nchl.vision.training.steps import dropped, halved_lr


class Score(NamedTuple):
    """What one step adds to its epoch: summed loss and images classified rightly, where there are labels."""

    loss: float = 0.0
    correct: int = 0


class Phase(Protocol):
    """What the experiment's loop needs of a phase."""

    name: str
    epochs: int
    batch_size: int
    labelled: bool

    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """Learn from some of the training images."""

    def lr(self, epoch: int) -> float | None:
        """The learning rate of an epoch, where there is one for all."""

    def validate(self, epoch: int) -> float | None:
        """Called after each epoch; the accuracy on the validation images, where there are any."""

    def finish(self) -> None:
        """Called once after the last epoch."""

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, besides the network."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """The inverse of `state`."""


class Unsupervised:
    """SoftHebb: all blocks together, or one block while those below it are finished."""

    labelled = False

    def __init__(self, classifier: Classifier, images: Images, *, epochs: int, batch_size: int, block: int | None = None) -> None:
        self.name = "unsupervised" if block is None else f"unsupervised-{block + 1}"
        self.epochs, self.batch_size = epochs, batch_size
        self._images, self._device = images, next(classifier.parameters()).device
        blocks = list(classifier.blocks)
        self._below = nn.Sequential(*blocks[: block or 0])
        self._learning = nn.ModuleList(until_last_learning(blocks if block is None else [blocks[block]]))
        self._classifier = classifier

    @torch.no_grad()
    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """Learn from some of the training images."""
        self._classifier.eval()
        self._learning.train()
        x = self._below(self._images.batch(indices, self._device))
        for module in self._learning:
            x = module(x)
        return Score()

    def lr(self, epoch: int) -> float | None:
        """The learning rate of an epoch, where there is one for all."""
        return None

    def validate(self, epoch: int) -> float | None:
        """The accuracy on the validation images, where there are any."""
        return None

    def finish(self) -> None:
        """Leave the network in evaluation mode, as the last epoch (or the best, where there is validation) made it."""
        self._classifier.eval()

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, besides the network."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """The inverse of `state`."""
        return


class Statistics(Unsupervised):
    """Layers that stay as drawn: a pass in which only BatchNorm's running statistics move, or the features would have any size."""

    def __init__(self, classifier: Classifier, images: Images) -> None:
        super().__init__(classifier, images, epochs=1, batch_size=CHUNK)
        self.name = "statistics"

    @torch.no_grad()
    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """Show the network some of the training images."""
        layers = softhebb_layers(self._classifier)
        for layer in layers:
            layer.plastic = False
        score = super().step(epoch, batch, indices)
        for layer in layers:
            layer.plastic = True
        return score


class _Supervised:
    """Adam with the published halvings; the head that did best on the validation images is kept, where there are any."""

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
        self.epochs, self.batch_size = epochs, batch_size
        self._classifier, self._trained, self._labels = classifier, trained, labels
        self._lr, self._dropout, self._seed = lr, dropout, seed
        self._parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
        self._adam = torch.optim.Adam(self._parameters, lr=lr)
        self._best: dict[str, Tensor] = {}
        self.best_accuracy, self.best_epoch = -1.0, -1

    def lr(self, epoch: int) -> float | None:
        """The learning rate of an epoch, where there is one for all."""
        return halved_lr(self._lr, epoch, self.epochs)

    def step(self, epoch: int, batch: int, indices: Tensor) -> Score:
        """Learn from some of the training images."""
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

    def inputs(self, indices: Tensor) -> Tensor:
        """The features of some training images."""
        raise NotImplementedError

    def validation_accuracy(self) -> float | None:
        """The accuracy on the validation images as the network is now, where there are any."""
        raise NotImplementedError

    def validate(self, epoch: int) -> float | None:
        """The accuracy on the validation images, where there are any."""
        accuracy = self.validation_accuracy()
        if accuracy is not None and accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = accuracy, epoch + 1
            self._best = {name: value.detach().clone() for name, value in self._trained.state_dict().items()}
        return accuracy

    def finish(self) -> None:
        """Leave the network in evaluation mode, as the last epoch (or the best, where there is validation) made it."""
        if self._best:
            self._trained.load_state_dict(self._best)
        self._classifier.eval()

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, besides the network."""
        arrays = {f"best.{name}": value.cpu().numpy() for name, value in self._best.items()}
        arrays["best"] = np.array([self.best_accuracy, self.best_epoch], dtype=np.float64)
        for index, parameter in enumerate(self._parameters):
            arrays |= {f"adam.{index}.{name}": value.cpu().numpy() for name, value in self._adam.state.get(parameter, {}).items()}
        return arrays

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """The inverse of `state`."""
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
                # The counter stays on the CPU, where Adam keeps it; the moments take the memory format of their parameter.
                self._adam.state[parameter] = {
                    name: value if name == "step" else torch.empty_like(parameter).copy_(value) for name, value in found.items()
                }


class Head(_Supervised):
    """The linear head, on features that were computed once."""

    name = "head"

    def __init__(
        self, classifier: Classifier, features: Tensor, labels: Tensor, validation: tuple[Tensor, Tensor] | None, **settings: float
    ) -> None:
        super().__init__(classifier, classifier.head, labels, **settings)  # type: ignore[arg-type]
        self._features, self._validation = features, validation

    def inputs(self, indices: Tensor) -> Tensor:
        """The features of some training images."""
        return self._features[indices].to(self._classifier.head.weight.device).float()

    def validation_accuracy(self) -> float | None:
        """The accuracy on the validation images as the network is now, where there are any."""
        if self._validation is None:
            return None
        features, labels = self._validation
        predicted = [predict_features(self._classifier, features[start : start + CHUNK]) for start in range(0, len(labels), CHUNK)]
        return float((torch.cat(predicted) == labels).double().mean())


class Backprop(_Supervised):
    """The same network, end to end, by gradients: the baseline."""

    name = "backprop"

    def __init__(self, classifier: Classifier, images: Images, validation: Images | None, **settings: float) -> None:
        backprop_mode(classifier)
        super().__init__(classifier, classifier, images.labels, **settings)  # type: ignore[arg-type]
        self._images, self._validation = images, validation

    def inputs(self, indices: Tensor) -> Tensor:
        """The features of some training images."""
        self._classifier.train()
        return self._classifier.extract(self._images.batch(indices, self._classifier.head.weight.device))

    def validation_accuracy(self) -> float | None:
        """The accuracy on the validation images as the network is now, where there are any."""
        if self._validation is None:
            return None
        return float((predict(self._classifier, self._validation) == self._validation.labels).double().mean())


@torch.no_grad()
def predict(classifier: Classifier, images: Images, advance: Callable[[int], None] | None = None) -> Tensor:
    """The class that the network in evaluation mode gives each image; features pass through half precision, as in training."""
    classifier.eval()
    device, found = classifier.head.weight.device, []
    for start in range(0, len(images), CHUNK):
        found.append(predict_features(classifier, half(classifier.extract(images.batch(slice(start, start + CHUNK), device)))))
        if advance is not None:
            advance(min(start + CHUNK, len(images)))
    return torch.cat(found)


@torch.no_grad()
def predict_features(classifier: Classifier, features: Tensor) -> Tensor:
    """The class of each image from its features."""
    scores: Tensor = classifier.head(features.to(classifier.head.weight.device).float())
    return scores.argmax(dim=1).cpu()


def norm_distance(classifier: Classifier) -> float:
    """Mean of | |W_o| - 1 | over all units of all SoftHebb layers: it falls towards 0 as they converge."""
    norms = torch.cat([torch.linalg.vector_norm(layer.weight.detach().flatten(1), dim=1) for layer in softhebb_layers(classifier)])
    return float((norms - 1).abs().mean())
