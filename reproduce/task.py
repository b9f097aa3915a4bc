"""The paper's own command: `python reproduce/task.py SEED`.

AntBulletEnv-v0, a network of 28-128-64-8 neurons, OpenAI-ES with the paper's settings (Ferigo, Cunegatti, Iacca:
Neuron-centric Hebbian Learning, GECCO 2024, arXiv 2403.12076). It is the preset `paper-ant-bullet`; what differs from the
published code, and why, `nchl presets paper-ant-bullet` says. Further words are options of `nchl evolve`.
"""

from __future__ import annotations

import shlex
import sys

from nchl.cli import main


def task(words: list[str]) -> int:
    """Run the experiment with the seed that comes first, and return the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: {sys.argv[0]} SEED [options of nchl evolve]\n\n{__doc__}")
        return 0
    command = ["evolve", "--preset", "paper-ant-bullet", "--seed", words[0], *words[1:]]
    print(f"the same as: {shlex.join(['nchl', *command])}", file=sys.stderr)
    return main(command)


if __name__ == "__main__":
    sys.exit(task(sys.argv[1:]))
