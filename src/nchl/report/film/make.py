"""`nchl film RUN`: what a run has found, playing an unseen episode, as an mp4 that every browser plays.

Promise: the return that is told is the sum of the rewards of the life that is shown, and on the run's own simulator it is what
`nchl evaluate` tells of the same episode. With controls, three copies begin the same life and differ only in what of their rule acts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nchl.errors import InvalidArgument, RunError
from nchl.report.film import video
from nchl.report.film.captions import FROZEN, OFF, ON, Caption, compose
from nchl.rollout.watch import Moment, never
from nchl.runs import budget
from nchl.runs.environment import notes_on_environment
from nchl.runs.evaluate import never_changes
from nchl.runs.files import read_tensors
from nchl.runs.folder import RunFolder
from nchl.runs.load import read_result
from nchl.runs.sinks import trackers
from nchl.runs.sinks.tensorboard import EventFile
from nchl.runs.watch import Scene, open_run
from nchl.tasks import fingerprint
from nchl.tasks.render import DRAWN_BY_ENVPOOL

MOST_PER_SECOND = 60.0
_HOLD_SECONDS = 1.0  # the end of an episode stays for a moment
_ASPECT = 3 / 4

OnProgress = Callable[[int, int], None]


@dataclass
class _Panel:
    """One copy of the individual in its own world: what is shown of it, and how its life went."""

    scene: Scene
    kind: str
    returns: list[float | None] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    freezes: list[int] = field(default_factory=list)
    plastic: bool = field(init=False)

    def __post_init__(self) -> None:
        self.plastic = self.scene.network.plastic  # while the weights are frozen it says no

    def begin(self, freeze_after: int | None, every: int, last: float) -> None:
        """Begin the life; every so many steps are drawn, none after `last`."""
        self.freeze_after, self._last = freeze_after, last
        self._moments = self.scene.watch(draw=lambda step: step % every == 0 and step <= last, freeze_after=freeze_after)
        self._before: Moment | None = None
        self.alive, self.steps, self.total = True, 0, 0.0
        self.frame: UInt8[np.ndarray, "height width 3"] | None = None

    def advance(self) -> None:
        """One step; what is shown is the world before it."""
        moment, before = next(self._moments, None), self._before
        if before is not None:
            self.total, self.steps = before.total, before.step + 1
        if moment is not None:
            self.frame = self.frame if moment.frame is None else moment.frame
            self._before = moment
            return
        if before is None or not before.done:
            self.total = math.nan
        self.alive = False
        if self.frame is None or self.steps <= self._last:
            self.frame = self.scene.stage.frame()
        self.returns.append(self.total if math.isfinite(self.total) else None)
        self.lengths.append(self.steps)

    def caption(self) -> Caption:
        """The words and the colour above the picture."""
        per_second = self.scene.stage.steps_per_second
        seconds = self.steps / per_second
        title, colour = "plasticity on", ON
        if not self.plastic:
            title, colour = "weights are fixed", OFF
        elif self.freeze_after == 0:
            title, colour = "plasticity off", OFF
        elif self.freeze_after is not None:
            frozen = self.steps >= self.freeze_after
            title = f"weights frozen {'since' if frozen else 'from'} {self.freeze_after / per_second:.1f} s{'' if frozen else ' on'}"
            colour = FROZEN if frozen else ON
        reward = f"{self.total:,.1f}" if math.isfinite(self.total) else "not finite"
        return Caption(title, f"{seconds:.2f} s   reward {reward}", colour, ended=not self.alive)


def film(
    run: Path | str,
    out: Path | str | None = None,
    *,
    gif: bool = False,
    seed: int = 10000,
    episodes: int = 1,
    which: str = "best",
    controls: bool = False,
    simulator: str | None = None,
    width: int = 480,
    fps: float | None = None,
    seconds: float | None = None,
    rule: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Film a run's result.

    Args:
        run: the run folder.
        out: the film; None: `film.mp4` in the run folder.
        gif: also write a GIF beside it.
        seed: of the evaluation whose first episodes are shown; evaluations never meet the starts of training or validation.
        episodes: how many, one after the other.
        which: "best" or "centre".
        controls: three copies side by side: plasticity on, off, and frozen after half of the steps that the first one lives.
        simulator: None: the run's own.
        width: of one picture, in pixels; rounded up to an even number.
        fps: most pictures for a second of simulated time, up to 60; None: one for each step, at most 60. The film always runs in real time.
        seconds: show no more than this much of each episode; the return told is that of the whole.
        rule: another rule than the run's own, on purpose: "FILE.py:NAME"; `out` must then be given.
        on_progress: called with the steps that were played and the most that there can be.

    Returns:
        A JSON object: film, gif, task, simulator, drawn_by, which, generation, seed, episodes, returns, lengths, frames,
        frames_per_second, width, height, notes; with controls `plasticity_off` and `frozen_half_way`, each with returns and lengths.

    Raises:
        NchlError: no such run or result, a task that cannot be drawn here, no ffmpeg, or a place that cannot be written.
    """
    _check(episodes=episodes, width=width, fps=fps, seconds=seconds)
    most = budget.at_most("seconds of film", math.inf if seconds is None else seconds)
    folder = RunFolder.open(run)
    if rule is not None and out is None:
        raise InvalidArgument("a film with another rule than the run's own is none of the run's: say with --out where it is to lie")
    path = folder.path / "film.mp4" if out is None else Path(out)
    video.check(path)
    record = read_result(run, which, rule=rule).record
    config = record.settings
    with contextlib.ExitStack() as stack:
        kinds = ("on", "off", "frozen") if controls else ("on",)
        size = (width, round(width * _ASPECT))
        panels = []
        for kind in kinds:
            scene = open_run(run, seed, which, simulator=simulator, size=size if _takes_a_size(config.task) else None, rule=rule)
            panels.append(_Panel(stack.enter_context(scene), kind))
            if controls and not panels[0].plastic:
                raise never_changes(config)
        stage = panels[0].scene.stage
        every = max(1, math.ceil(stage.steps_per_second / (fps or MOST_PER_SECOND) - 1e-9))
        rate = stage.steps_per_second / every
        who = "best individual" if which == "best" else "centre of the search"
        about = f"{stage.task.id}, {'EnvPool' if stage.simulator == 'envpool' else 'Gymnasium'}: {who}, seed {seed}"
        with video.Writer(path, rate) as writer:
            for episode in range(episodes):
                footer = about + (f", episode {episode + 1} of {episodes}" if episodes > 1 else "")
                last = most * stage.steps_per_second
                for picture in _episode(panels, episode, every, last, rate, width, footer, on_progress):
                    writer.add(picture)
        made = path.with_suffix(".gif") if gif else None
        if made is not None:
            video.to_gif(path, made)
        generation = _generation(folder, which)
        notes = [*stage.notes, *notes_on_environment(record, fingerprint(stage.task))]
        if rule is None:
            notes += [*_keep_for_tensorboard(folder, path, generation), *trackers.show_film(folder, generation or 0, path)]
        result: dict[str, Any] = {"film": str(path), "gif": None if made is None else str(made), "task": config.task}
        result |= {"simulator": stage.simulator, "drawn_by": stage.drawn_by, "which": which, "generation": generation}
        result |= {"seed": seed, "episodes": episodes, "returns": panels[0].returns, "lengths": panels[0].lengths}
        if controls:
            result["plasticity_off"] = {"returns": panels[1].returns, "lengths": panels[1].lengths}
            frozen = panels[2]
            result["frozen_half_way"] = {"after_steps": frozen.freezes, "returns": frozen.returns, "lengths": frozen.lengths}
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
    """The pictures of one episode, all panels in step."""
    for panel in panels:
        panel.scene.to_episode(episode)
    for panel in panels:
        after = None
        if panel.kind == "off":
            after = 0
        elif panel.kind == "frozen":
            after = max(1, round(sum(1 for _ in panels[0].scene.watch(draw=never)) / 2))
            panel.freezes.append(after)
        panel.begin(after, every, last)

    def picture() -> UInt8[np.ndarray, "height width 3"]:
        return compose([(panel.frame, panel.caption()) for panel in panels if panel.frame is not None], width, footer)

    step = 0
    while True:
        for panel in panels:
            if panel.alive:
                panel.advance()
        if not any(panel.alive for panel in panels):
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


def _takes_a_size(task: str) -> bool:
    """Whether the pictures should be drawn in the film's size; EnvPool's own are drawn in theirs, and made smaller with care."""
    return task not in DRAWN_BY_ENVPOOL


def _generation(folder: RunFolder, which: str) -> int | None:
    """The generation that the individual is from, as its file says."""
    about = read_tensors(folder.best if which == "best" else folder.centre)[1]
    generation = about.get("generation")
    return None if generation is None else int(generation)


def _keep_for_tensorboard(folder: RunFolder, film: Path, generation: int | None) -> list[str]:
    """Put a small copy of the film into the run's TensorBoard folder; a note where that cannot be done."""
    step = generation or 0
    try:
        small = video.small_gif(film)
        # A folder of its own: the events of a run that is still going on are another process's to write.
        events = EventFile(folder.tensorboard / "film", keep=step - 1)
        events.picture(step, "film", small, video.size_of_gif(small))
        events.close()
    except (RunError, OSError) as error:
        return [f"TensorBoard does not get the film: {error}"]
    return []


def _check(**values: float | None) -> None:
    least = {"episodes": 1, "width": 64, "fps": 0.1, "seconds": 0.1}
    for name, value in values.items():
        most = MOST_PER_SECOND if name == "fps" else 100_000
        if value is not None and not least[name] <= value <= most:
            raise InvalidArgument(f"{name} must be from {least[name]} to {most:g}, got {value}")
