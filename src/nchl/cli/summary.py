"""The result of `nchl evolve` and `nchl resume`: why the run ended, its folder, and the next commands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from nchl.report.formatting import duration, figure, reason

if TYPE_CHECKING:
    from nchl.runs.session.loop import RunResult


def result(ended: RunResult) -> dict[str, Any]:
    """The result for `--json`: the summary, the folder, the command to resume it (None after its end), and whether it has controls."""
    resume = None if ended.reason is not None else f"nchl resume {shlex.quote(str(ended.folder))}"
    from nchl.runs.store.folder import RunFolder

    about = {"run": str(ended.folder), "exit_code": ended.exit_code, **ended.summary, "resume": resume}
    return about | {"controls": RunFolder.open(ended.folder).read_record().has_controls}


def text(result: dict[str, Any]) -> str:
    """The result in three short paragraphs."""
    plural = "" if result["generations"] == 1 else "s"
    done = f"{result['generations']} generation{plural}, {result['env_steps']:,} environment steps, {duration(result['seconds'])}"
    lines = [f"Stopped: {done}." if result["resume"] else f"Done, {reason(result['reason'])}: {done}."]
    if result["best"] is not None:
        lines.append(_best(result["best"]))
        if result["best"]["validated"] is None:
            lines.append("The highest fitness of all is part luck: --validation-episodes 8 chooses by the mean of eight more episodes.")
    folder = shlex.quote(result["run"])
    lines += [f"The run is in {result['run']}", ""]
    if result["resume"]:
        lines += ["Go on with:", f"  {result['resume']}", "", "Or look at what it has reached:"]
    else:
        lines.append("Try next:")
    if result["best"] is not None:
        lines += [f"  nchl evaluate {folder}{' --controls' if result['controls'] else ''}", f"  nchl report {folder}"]
    if result["reason"] == "generations":
        lines.append(f"  nchl resume {folder} --generations {2 * result['generations']}")
    lines.append(f"  tensorboard --logdir {folder}")
    return "\n".join(lines)


def _best(best: dict[str, Any]) -> str:
    line = f"Best individual: generation {best['generation']}"
    if best["fitness"] is not None:
        line += f", fitness {figure(best['fitness'])}"
    if best["validated"] is not None:
        line += f", mean {figure(best['validated'])} on validation starts"
    return line + "."
