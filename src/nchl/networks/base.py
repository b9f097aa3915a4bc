"""`PlasticNetwork`, the interface of all networks to rollouts, evolution and records.

A step is `forward` with the present weights, then `update` from this step's activations; `step` does both. If the update needs a
reward, `step(x, reward=r)` does the last step's update with the reward of its action, then `forward`. Autograd records nothing
unless a network is differentiable.

Axes: one individual has no leading axis, a population has one, and a batch comes after it: `(population, batch, n)`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from nchl.errors import InvalidArgument, OrderError, ShapeError, whole_number
from nchl.genome import Layout
from nchl.networks.checks import Numbers, check_active, check_constants, check_device, check_generator, observe, real_numbers

_DTYPES = (torch.float32, torch.float64)


class PlasticNetwork(nn.Module, abc.ABC):
    """A network, or a population of networks, whose weights change while it acts.

    A subclass implements `reset`, `draw_weights`, `weights`, `forward` and `update`, and passes its layout and sizes to the
    constructor. `nchl.testing.check_network(net)` runs it and lists what is missing. A complete class:

        class Reversal(nchl.PlasticNetwork):  # one layer; each weight moves by pre * post, times a rate of its own
            def __init__(self, n_in: int, n_out: int):
                sizes = dict(input_shape=(n_in,), output_size=n_out, output_bounded=True, weights_per_individual=n_in * n_out)
                super().__init__(Layout([("rates", (n_out, n_in), ())]), **sizes)
                self.register_buffer("w", self.genome.new_zeros(n_out, n_in))
                self.reset()
            def draw_weights(self, generator): return [torch.rand(self.w.shape, generator=generator, dtype=self.dtype) - 0.5]
            def reset(self, weights=None, generator=None):
                self.w.copy_((weights or self.draw_weights(generator or self._generator))[0])
                self.x = None
            @property
            def weights(self): return [self.w]
            def forward(self, x):
                self.x = self._observe(x)[0]
                self.y = torch.tanh(self.w @ self.x)
                return self.y.clone()
            def update(self, reward=None):
                if self.x is None: raise self._order_error()
                self.w += self.layout.unpack(self.genome)["rates"] * torch.outer(self.y, self.x)

    Optional: `step`, if forward and update are faster together; `populate`, if the class computes populations itself (otherwise a
    population is copies stepped one by one, see `user.copies`); `needs_reward`; `constants`, for tensors that neither learn nor evolve;
    `backend_for`; `_genome_changed` and `_before_genome_changes`, called around each `set_hrules`; and `_activation_axes`, for buffers
    with a batch axis. Buffers are part of the `state_dict`. `self._observe(x)` copies and checks an observation, `self._order_error()`
    is the error of an `update` before any `forward`, `self._generator` is the default generator of `reset`.

    Attributes:
        layout: the named blocks of the genome.
        population: number of individuals, or None for one without the axis.
        input_shape: shape of one observation of one individual.
        output_size: number of outputs of one individual.
        output_bounded: whether the last operation is tanh.
        weights_per_individual: number of plastic weights.
        backend: `"eager"` or `"compiled"`, the implementation of `step`.
        plastic: False switches the rule off: `step` is then `forward` alone.
        notes: lines that a user should be told once, for example that there is no compiler.
        genome: buffer, `(nparams,)` or `(population, nparams)`.
        differentiable: whether outputs have gradients with respect to the genome.
    """

    genome: Tensor
    differentiable = False

    def __init__(
        self,
        layout: Layout,
        *,
        input_shape: tuple[int, ...],
        output_size: int,
        output_bounded: bool,
        weights_per_individual: int,
        population: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if population is not None:
            population = whole_number(population, "population", 1, "individuals (or None for a single network without the axis)")
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if dtype not in _DTYPES:
            raise InvalidArgument(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        self.layout = layout
        self.population = population
        self.input_shape = input_shape
        self.output_size = output_size
        self.output_bounded = output_bounded
        self.weights_per_individual = weights_per_individual
        self.backend = "eager"
        self.plastic = True
        self.notes: list[str] = []
        # A new generator starts at torch's fixed default seed: without an argument, every run draws the same weights.
        self._generator = torch.Generator() if generator is None else check_generator(generator)
        check_device(device)
        self.register_buffer("genome", torch.zeros(*self.lead, layout.size, dtype=dtype, device=device))

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading axes of weights, rules and outputs: `()` or `(population,)`."""
        return () if self.population is None else (self.population,)

    @property
    def nparams(self) -> int:
        """Length of the genome."""
        return self.layout.size

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of weights, rules and outputs."""
        return self.genome.dtype

    @property
    def device(self) -> torch.device:
        """The device of weights and rules."""
        return self.genome.device

    def set_hrules(self, vector: Shaped[Tensor, "*lead nparams"] | Numbers) -> None:
        """Replace the genome. Stored weights are kept; weights that the genome contains are read at the next `reset`.

        The weights of `WNcHL` and `StaticMLP` are functions of the genome and change at once, also within a lifetime.

        Args:
            vector: `(nparams,)`, for a population the same for all individuals, or `(population, nparams)`.

        Raises:
            ShapeError: another length or population.
            InvalidArgument: a number is not finite; nothing is changed.
        """
        new = real_numbers(vector, "set_hrules")
        allowed = [(self.nparams,)] if self.population is None else [(self.population, self.nparams), (self.nparams,)]
        if tuple(new.shape) not in allowed:
            raise ShapeError(
                f"set_hrules: expected shape {' or '.join(map(str, allowed))}, got {tuple(new.shape)}; `layout` names the parts of a genome"
            )
        new = (new if self.differentiable else new.detach()).to(dtype=self.dtype, device=self.device)
        finite = torch.isfinite(new.detach())
        if not bool(finite.all()):
            bad = int((~finite).sum())
            raise InvalidArgument(f"set_hrules: expected finite numbers, got {bad} that are not (as {self.dtype}); the rules are unchanged")
        self._before_genome_changes()
        if self.differentiable:
            self._buffers["genome"] = new.expand(*self.lead, self.nparams).clone()  # an optimizer changes the caller's tensor in place
        else:
            self.genome.copy_(new)
        self._genome_changed()

    def constants(self) -> dict[str, Tensor]:
        """Tensors that neither learn nor evolve, by name: biases and BatchNorm statistics of a user's module. No copies.

        They are drawn when the module is made; a run saves them and restores them with `load_constants`. A subclass with constants
        overrides this method alone.
        """
        return {}

    @torch.no_grad()
    def load_constants(self, named: Mapping[str, Numbers]) -> None:
        """Replace all constants.

        Args:
            named: tensors or arrays, by the names of `constants`.

        Raises:
            InvalidArgument: a constant is missing, or a name is unknown.
            ShapeError: a constant has another shape; nothing is changed.
        """
        own = self.constants()
        for name, value in check_constants(named, own).items():
            own[name].copy_(value)

    @abc.abstractmethod
    def reset(self, weights: Sequence[Numbers] | None = None, generator: torch.Generator | None = None) -> None:
        """Begin a new lifetime: initial weights, no activations.

        Args:
            weights: one tensor per plastic layer, `(out, in)` for all individuals or `(population, out, in)`; copied. None: draw them.
            generator: source of the initial weights; None: the generator given to the constructor.
        """

    @abc.abstractmethod
    def draw_weights(self, generator: torch.Generator) -> list[Tensor]:
        """Initial weights of one individual, as `reset` takes them; an empty list if none are drawn."""

    @property
    @abc.abstractmethod
    def weights(self) -> list[Tensor]:
        """The present weights, one `(*lead, out, in)` per plastic layer; `clone()` those to keep, later steps may change them in place."""

    @abc.abstractmethod
    def forward(self, x: Shaped[Tensor, "*observations"]) -> Shaped[Tensor, "*outputs"]:
        """Outputs for the observations `x`; keeps the activations for `update`."""

    @property
    def needs_reward(self) -> bool:
        """Whether `update` needs the reward; then `step` defers the update until the reward is given."""
        return False

    @abc.abstractmethod
    def update(self, reward: Any = None) -> None:
        """Move the weights by the rule, from the activations of the last `forward`.

        Args:
            reward: the reward of that step's action, a number or `(population,)`. Ignored by a network that needs none.

        Raises:
            OrderError: there was no `forward` in this lifetime.
            InvalidArgument: the network needs a reward and got none.
        """

    def step(
        self, x: Shaped[Tensor, "*observations"], active: Shaped[Tensor, " population"] | None = None, *, reward: Any = None
    ) -> Shaped[Tensor, "*outputs"]:
        """`forward`, then `update`; for a network that needs a reward, the last step's `update(reward)`, then `forward`.

        Args:
            x: as for `forward`.
            active: bool `(population,)`: the individuals of a population whose output is needed. Rows of the others are finite but
                undefined, and so are their weights from then on, until `reset`.
            reward: the reward of the last action; None on the first step of an episode. After the episode, `update(reward=r)` does the
                last step's update.

        Raises:
            ShapeError: `x` or `active` has another shape.
            InvalidArgument: the network needs a reward and got none.
            OrderError: the network needs a reward, and it belongs to no step: the first of an episode, or after `forward` or `update`.
        """
        check_active(active, self.population)
        y = self.forward(x)
        if self.plastic:
            self.update()
        return y

    def populate(self, population: int | None, **keywords: Any) -> PlasticNetwork:
        """A network like this one for another number of individuals, at the start of a lifetime. Runs make their population with it.

        It has this network's constants, a copy of its generator and, if this one is of one individual, its genome.

        The default is copies that are stepped one by one, see `networks.user.copies`.

        Args:
            population: number of individuals, or None for one without the axis.
            **keywords: settings in place of this network's, for example `device`.

        Raises:
            InvalidArgument: a setting that the class does not take.
        """
        from nchl.networks.user.copies import copied

        return copied(self, population, **keywords)

    def backend_for(self, population: int) -> str:
        """The back end of a network like this one with `population` individuals; slices of a population take that of the whole."""
        return self.backend

    def finite(self, rows: Shaped[Tensor, " k"]) -> Shaped[Tensor, " k"]:
        """Whether all weights of each of the individuals `rows` (indices) are finite, at the end of their episode.

        A waiting update is done first, so that all back ends agree; the individuals' weights are undefined afterwards, until `reset`.
        """
        found = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        for weight in self.weights:
            mine = weight.reshape(self.population or 1, -1)[rows.to(weight.device)]
            found &= torch.isfinite(mine).all(1)
        return found

    def _genome_changed(self) -> None:
        """Recompute tensors derived from `self.genome`."""

    def _before_genome_changes(self) -> None:
        """Do the updates that still need the old genome."""

    def _observe(self, x: Numbers) -> tuple[Tensor, bool]:
        """A copy of `x` in this network's precision, and whether it has a batch; see `checks.observe`."""
        return observe(self, x)

    @staticmethod
    def _order_error() -> OrderError:
        return OrderError("update needs the activations of a forward in this lifetime, got none; call forward(x) or step(x) first")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Load; buffers of activations take the shape of the saved batch (or are empty). Then recompute derived tensors."""
        errors: list[str] = args[-1]
        for name, (before, after) in self._activation_axes().items():
            saved = state_dict.get(prefix + name)
            if saved is None:
                continue
            shape = tuple(saved.shape)
            rest = len(shape) - len(before) - len(after)
            if shape == (0,) or (rest in (0, 1) and shape == (*before, *shape[len(before) : len(before) + rest], *after)):
                self._buffers[name] = self.get_buffer(name).new_empty(shape)
            else:
                expected = f"({', '.join(map(str, (*before, '[batch]', *after)))})"
                errors.append(f"{prefix}{name}: this network's are of shape {expected}, the state's of shape {shape}")
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._genome_changed()

    def _activation_axes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """For each buffer with a batch axis, the axes before and after it."""
        return {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """`to`, `half`, `cuda` ...: refuses a type that the constructor refuses, before anything has changed."""
        dtype = fn(torch.empty(0, dtype=self.dtype, device=self.device)).dtype
        if dtype not in _DTYPES:
            raise InvalidArgument(f"dtype: expected torch.float32 or torch.float64, got {dtype}; the network is unchanged")
        return super()._apply(fn, recurse)
