"""Steps per second of a population that acts and rewires, beside the bare simulator.

The full run plays as `nchl evolve` does, in two lanes where the simulator can be divided. The bare run steps one simulator of
all threads with the actions that were recorded in the full run just before, so both do the same physics: a simulator's speed
depends on the actions. Full and bare runs alternate; medians are shown. The time to make the simulator (and to compile) is
not included. Use an idle machine.
"""

from __future__ import annotations

import argparse
from typing import Any

from nchl.cli.parser import Once, Parser, add_options, at_least, given, one_of
from nchl.runs.settings.config import options
from nchl.simulators import CHOICES

_OF_THE_TASK = ("env", "observe", "action_repeat")
EPILOG = "example: nchl bench rollout HalfCheetah-v5 --json"


def add_arguments(parser: Parser) -> None:
    """The task, the network and the simulator."""
    parser.add_argument("task", metavar="TASK", help="a task, for example Ant-v5")
    parser.add_argument("--population", type=at_least(1), metavar="P", help="individuals side by side (default: 256; CarRacing-v3: 64)")
    parser.add_argument("--network", default="nchl", metavar="NAME", help="as for `nchl evolve` (default: nchl)")
    parser.add_argument("--hidden", type=at_least(1), nargs="*", metavar="N", help="sizes of the hidden layers (default: 128 64)")
    parser.add_argument("--normalise", metavar="NAME", help="as for `nchl evolve`")
    parser.add_argument("--sharing", metavar="NAME", help="as for `nchl evolve`")
    parser.add_argument("--termwise", action="store_true", default=None, help="as for `nchl evolve`")
    parser.add_argument("--image-size", type=at_least(1), nargs=2, metavar=("H", "W"), help="default: as the network was published")
    parser.add_argument(
        "--simulator",
        default="auto",
        action=Once,
        type=one_of("simulator", CHOICES),
        metavar="|".join(CHOICES),
        help="simulator (default: auto)",
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="of the networks, and of the simulator warp (default: cpu)")
    add_options(parser, [each for each in options() if each.name in _OF_THE_TASK])
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="threads of the simulator (default: one per processor)")
    parser.add_argument("--steps", type=at_least(1), default=300, metavar="N", help="longest episode (default: 300)")
    parser.add_argument("--repetitions", type=at_least(1), default=3, metavar="N", help="full and bare runs (default: 3 of each)")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of rules, starts and weights (default: 0)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; the keys that matter are `full_steps_per_s`, `bare_steps_per_s`, `ratio` and `population`."""
    from nchl.bench.rollout import measure
    from nchl.networks.build import NetworkSpec

    hidden = None if args.hidden is None else tuple(args.hidden)
    return measure(
        args.task,
        NetworkSpec(network=args.network, hidden=hidden, normalise=args.normalise, sharing=args.sharing, termwise=args.termwise),
        population=args.population,
        image_size=args.image_size,
        simulator=args.simulator,
        device=args.device,
        threads=args.threads,
        steps=args.steps,
        repetitions=args.repetitions,
        seed=args.seed,
        **given(args, [each for each in options() if each.name in _OF_THE_TASK]),
    )


def text(result: dict[str, Any]) -> str:
    """Three lines and the notes."""
    return "\n".join(
        [
            f"{result['task']} on {result['simulator']}, {result['population']} individuals, network {result['network']} "
            f"({result['network_back_end']}), {result['env_steps_per_run']:,} steps a run, median of {result['repetitions']}",
            f"acting and rewiring  {result['full_steps_per_s']:>12,.0f} steps/s",
            f"bare simulator       {result['bare_steps_per_s']:>12,.0f} steps/s (replaying the same actions, without the time to make it)",
            f"ratio                {result['ratio']:>12.3f}",
            *result["notes"],
        ]
    )
