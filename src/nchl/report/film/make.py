"""`nchl film RUN`: a run's result in unseen episodes, as an mp4.

The return in the film is the sum of the rewards of the episode shown; on the run's own simulator it equals that of `nchl evaluate`. With
controls, three copies start the same episode and differ only in when their rule acts.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nchl.errors import InvalidArgument, NchlError
from nchl.report.film import video
from nchl.report.film.captions import FROZEN, OFF, ON, Caption, compose
from nchl.report.film.names import SEED, words_of
from nchl.rollout.episode import Moment, never
from nchl.runs.files.tensors import read_tensors
from nchl.runs.provenance.environment import notes_on_environment
from nchl.runs.results.evaluate import never_changes
from nchl.runs.results.result import read_result
from nchl.runs.results.scene import Scene, open_run
from nchl.runs.search.objects import Objects
from nchl.runs.settings import docs_budget
from nchl.runs.sinks import trackers
from nchl.runs.sinks.tensorboard import EventFile
from nchl.runs.store.folder import RunFolder
from nchl.simulators import SIMULATORS
from nchl.tasks import fingerprint
from nchl.tasks.stages.envpool import DRAWN_BY_ENVPOOL

MOST_PER_SECOND = 60.0
_HOLD_SECONDS = 1.0  # how long the last frame of an episode stays
_ASPECT = 3 / 4

OnProgress = Callable[[int, int], None]


@dataclass
class _Panel:
    """One copy of the individual in its own environment, and the results of its episodes.

    Attributes:
        scene: the individual and its environment.
        control: "" (as evolved), "off" (the rule never acts) or "frozen" (it acts in the first half).
        returns: of each episode; None if it was not finite.
        lengths: of each episode in steps.
        freezes: of each episode, the steps after which the weights were frozen.
        plastic: whether the network changes its weights when nothing is frozen.
    """

    scene: Scene
    control: str
    returns: list[float | None] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    freezes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plastic = self.scene.network.plastic

    def begin(self, freeze_after: int | None, every: int, last: float) -> None:
        """Begin an episode in which every `every`-th step is drawn, and none after `last`."""
        self.freeze_after, self._last = freeze_after, last
        self._moments = self.scene.watch(draw=lambda step: step % every == 0 and step <= last, freeze_after=freeze_after)
        self._before: Moment | None = None
        self.running, self.steps, self.total = True, 0, 0.0
        self.frame: UInt8[np.ndarray, "height width 3"] | None = None

    def advance(self) -> None:
        """Make one step; frame, time and return are those before it."""
        moment, before = next(self._moments, None), self._before
        if before is not None:
            self.total, self.steps = before.total, before.step + 1
        if moment is not None:
            self.frame = self.frame if moment.frame is None else moment.frame
            self._before = moment
            return
        if before is None or not before.done:
            self.total = math.nan
        self.running = False
        if self.frame is None or self.steps <= self._last:
            self.frame = self.scene.stage.frame()
        self.returns.append(self.total if math.isfinite(self.total) else None)
        self.lengths.append(self.steps)

    def caption(self) -> Caption:
        """The caption of the current frame."""
        per_second = self.scene.stage.steps_per_second
        title, colour = "plasticity on", ON
        if not self.plastic:
            title, colour = "weights are fixed", OFF
        elif self.freeze_after == 0:
            title, colour = "plasticity off", OFF
        elif self.freeze_after is not None:
            frozen = self.steps >= self.freeze_after
            title = f"weights frozen {'since' if frozen else 'from'} {self.freeze_after / per_second:.1f} s{'' if frozen else ' on'}"
            colour = FROZEN if frozen else ON
        total = f"{self.total:,.1f}" if math.isfinite(self.total) else "not finite"
        moment = self.scene.moment
        mark = self.scene.perturbed if moment is not None and self.steps >= moment else ""
        return Caption(title, f"{self.steps / per_second:.2f} s   reward {total}", colour, ended=not self.running, mark=mark)


def film(
    run: os.PathLike[str] | str,
    out: Path | str | None = None,
    *,
    gif: bool = False,
    seed: int = SEED,
    episodes: int = 1,
    which: str = "best",
    controls: bool = False,
    simulator: str | None = None,
    width: int = 480,
    fps: float | None = None,
    seconds: float | None = None,
    rule: str | None = None,
    perturb: Sequence[str] | str | None = None,
    network: Any = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Film a run's result.

    Args:
        run: the run folder, or "zoo:NAME".
        out: the film; None: `film.mp4` in the run folder, or `NAME-film.mp4` in the working directory; with options that show something
            else, a name that lists them, such as `film-centre-controls.mp4`, so that `film.mp4`, which the report embeds, stays.
        gif: also write a GIF beside it.
        seed: seed of the evaluation whose first episodes are shown.
        episodes: number of episodes, shown one after the other.
        which: "best" or "centre".
        controls: show three copies side by side: plasticity on, off, and frozen after half of the first copy's steps.
        simulator: simulator to use; None: the run's own.
        width: width of one frame in pixels, rounded up to even.
        fps: most frames per second of simulated time, up to 60; None: one per step, at most 60. The film runs in real time.
        seconds: length of each episode to show; the return is still that of the whole episode.
        perturb: what goes wrong, in place of what went wrong in training; with controls, the third copy is frozen when it comes.
        rule: "FILE.py:NAME" of a rule to use in place of the run's own; requires `out`.
        network: the run's, if it was begun with an object that its folder cannot hold.
        on_progress: called with the number of steps played and the largest possible number.

    Returns:
        A JSON object: film, gif, task, simulator, drawn_by, which, generation, seed, episodes, returns, lengths, frames,
        frames_per_second, width, height, notes; with controls `plasticity_off` and `frozen_half_way`
        (perturbed: `frozen`), each with returns and lengths.

    Raises:
        NchlError: the run or result does not exist, the task cannot be drawn here, ffmpeg is missing, or `out` cannot be written.
    """
    _check(episodes=episodes, width=width, fps=fps, seconds=seconds)
    most = docs_budget.at_most("seconds of film", math.inf if seconds is None else seconds)
    folder = RunFolder.open(run)
    if rule is not None and out is None:
        raise InvalidArgument("with another rule, the film does not belong in the run folder: name a file with --out")
    shows = words_of(which, perturb, controls, simulator, seed, episodes, seconds)
    path = folder.output("-".join(["film", *shows]) + ".mp4") if out is None else Path(out)
    video.check(path)
    record = read_result(run, which, rule=rule, given=Objects(network=network), call="nchl.report.film.film").record
    config = record.settings
    with contextlib.ExitStack() as stack:
        # EnvPool draws in its own size.
        size = None if config.task in DRAWN_BY_ENVPOOL else (width, round(width * _ASPECT))
        panels: list[_Panel] = []
        for control in ("", "off", "frozen") if controls else ("",):
            scene = open_run(run, seed, which, simulator=simulator, size=size, rule=rule, perturb=perturb, network=network)
            panels.append(_Panel(stack.enter_context(scene), control))
            if controls and not panels[0].plastic:
                raise never_changes(config)
        stage = panels[0].scene.stage
        every = max(1, math.ceil(stage.steps_per_second / (fps or MOST_PER_SECOND) - 1e-9))
        rate = stage.steps_per_second / every
        subject = "best individual" if which == "best" else "centre of the search"
        about = f"{stage.task.id}, {SIMULATORS[stage.name].title}: {subject}, seed {seed}"
        with video.Writer(path, rate) as writer:
            for episode in range(episodes):
                footer = about + (f", episode {episode + 1} of {episodes}" if episodes > 1 else "")
                last = most * stage.steps_per_second
                for picture in _episode(panels, episode, every, last, rate, width, footer, on_progress):
                    writer.add(picture)
        made = path.with_suffix(".gif") if gif else None
        if made is not None:
            video.to_gif(path, made)
        generation = read_tensors(folder.best if which == "best" else folder.centre)[1].get("generation")
        notes = [*stage.notes, *notes_on_environment(record, fingerprint(stage.task))]
        if rule is None and perturb is None and folder.individual is None:
            notes += [*_keep_for_tensorboard(folder, path, generation), *trackers.show_film(folder, generation or 0, path)]
        shown, *others = panels
        result: dict[str, Any] = {
            "film": str(path),
            "gif": None if made is None else str(made),
            "task": config.task,
            "simulator": stage.name,
            "drawn_by": stage.drawn_by,
            "which": which,
            "generation": generation,
            "seed": seed,
            "episodes": episodes,
            "returns": shown.returns,
            "lengths": shown.lengths,
        }
        if others:
            off, frozen = others
            result["plasticity_off"] = {"returns": off.returns, "lengths": off.lengths}
            key = "frozen" if stage.task.plan else "frozen_half_way"
            result[key] = {"after_steps": frozen.freezes, "returns": frozen.returns, "lengths": frozen.lengths}
        result |= {"frames": writer.frames, "frames_per_second": rate, "width": writer.size[0], "height": writer.size[1], "notes": notes}
        return result


def _episode(
    panels: Sequence[_Panel],
    episode: int,
    every: int,
    last: float,
    rate: float,
    width: int,
    footer: str,
    on_progress: OnProgress | None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The frames of one episode, with all panels at the same step."""
    for panel in panels:
        panel.scene.to_episode(episode)
    for panel in panels:
        after = {"": None, "off": 0}.get(panel.control)
        if panel.control == "frozen":
            after = panel.scene.moment
            if after is None:
                after = max(1, round(sum(1 for _ in panels[0].scene.watch(draw=never)) / 2))  # as `nchl evaluate --controls` does
            panel.freezes.append(after)
        panel.begin(after, every, last)

    def picture() -> UInt8[np.ndarray, "height width 3"]:
        return compose([(panel.frame, panel.caption()) for panel in panels if panel.frame is not None], width, footer)

    step = 0
    while True:
        for panel in panels:
            if panel.running:
                panel.advance()
        if not any(panel.running for panel in panels):
            break
        if step % every == 0 and step <= last:
            yield picture()
        if on_progress is not None:
            on_progress(step, panels[0].scene.stage.task.step_limit)
        step += 1
    if step <= last:
        end = picture()
        for _ in range(max(1, round(_HOLD_SECONDS * rate))):
            yield end


def _keep_for_tensorboard(folder: RunFolder, film: Path, generation: int | None) -> list[str]:
    """Write a small copy of the film for TensorBoard; returns a note if that fails."""
    step = generation or 0
    try:
        small, size = video.small_gif(film)
        # A separate folder, because a run in progress writes the other events.
        events = EventFile(folder.tensorboard / "film", keep=step - 1)
        events.picture(step, "film", small, size)
        events.close()
    except (NchlError, OSError) as error:
        return [f"the film is not in TensorBoard: {error}"]
    return []


def _check(**values: float | None) -> None:
    least = {"episodes": 1, "width": 64, "fps": 0.1, "seconds": 0.1}
    for name, value in values.items():
        most = MOST_PER_SECOND if name == "fps" else 100_000
        if value is not None and not least[name] <= value <= most:
            raise InvalidArgument(f"{name} must be from {least[name]} to {most:g}, got {value}")
