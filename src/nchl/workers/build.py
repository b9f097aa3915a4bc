"""Builds the task and the networks of a recipe."""

from __future__ import annotations

from nchl import tasks
from nchl.errors import InvalidArgument
from nchl.networks.base import PlasticNetwork
from nchl.networks.build import build
from nchl.networks.contract.findings import hold
from nchl.networks.user import own
from nchl.tasks import Task
from nchl.user_code import using
from nchl.workers.base import Recipe


def task_of(recipe: Recipe, simulator: str | None = None, threads: int | None = None) -> Task:
    """The task of a recipe.

    Args:
        recipe: the description.
        simulator: another simulator; None: the recipe's own.
        threads: of the simulator; None: one per processor.

    Raises:
        NchlError: see `tasks.make`.
    """
    if recipe.played is not None:
        return recipe.played
    return tasks.make(
        recipe.task,
        recipe.simulator if simulator is None else simulator,
        max_episode_steps=recipe.max_episode_steps,
        image_size=recipe.image_size,
        threads=threads,
        device=recipe.device,
        **recipe.task_words,
    )


def network_of(recipe: Recipe, task: Task, rows: int) -> PlasticNetwork:
    """A network of `rows` individuals that computes as the run's whole population does.

    The back end is the one that the whole population would choose: one that depended on the slice would change the last digits.

    Raises:
        NchlError: the network cannot be made, or does not fit the task.
    """

    def with_backend(backend: str) -> PlasticNetwork:
        try:
            with using(recipe.code):
                return build(
                    recipe.network,
                    task.observation_shape,
                    task.action_size,
                    population=rows,
                    device=recipe.device,
                    backend=backend,
                    seed=recipe.seed,
                    constants=recipe.constants,
                    template=recipe.template,
                )
        except InvalidArgument as error:
            failed = error.__cause__ is not None  # the user's function itself
            if recipe.network.kind == "file" and recipe.image_size is None and (failed or task.pictures):
                raise InvalidArgument(f"{error}{_without_image_size(task)}") from error
            raise

    network = with_backend(recipe.backend)
    if recipe.backend == "auto":
        wanted = network.backend_for(min(recipe.population, task.largest_slice))
        if wanted != network.backend:
            network = with_backend(wanted)
    return network


def hold_own(recipe: Recipe, task: Task) -> None:
    """Check that a user's class keeps the contract of `PlasticNetwork`, before evolution begins; objects were checked earlier.

    Raises:
        ContractError: it does not; lists the differences.
    """
    if recipe.network.kind != "file" or recipe.template is not None:
        return
    with using(recipe.code):
        made = own.at_place(recipe.network.network, task.observation_shape, task.action_size, recipe.seed)
    if isinstance(made, PlasticNetwork) and made.population is None:
        hold(made)


def _without_image_size(task: Task) -> str:
    """The end of an error message where a network of pictures has no image size."""
    size = task.observation_shape[0]
    if not task.pictures:
        return f". {task.id} has no pictures: it gives vectors of {size} numbers, so that the network's function gets the shape ({size},)"
    return (
        f". {task.id} gives pictures, and without --image-size a network gets them as one vector of {size:,} numbers; add "
        "--image-size HEIGHT WIDTH (for example --image-size 64 64), and the network's function gets the shape (channels, HEIGHT, WIDTH)"
    )
