"""Show a network's sizes and the named blocks of its genome.

For example:

    nchl describe nchl 28 128 64 8      an MLP, by its layers
    nchl describe conv-thesis           a convolutional network; or conv-thesis CHANNELS HEIGHT WIDTH OUTPUTS
    nchl describe mine.py:network --input-shape 3 64 64 --outputs 3     your own, for these observations
    nchl describe halfcheetah           the network of a preset
    nchl describe runs/my-run           the network of a run folder, or of zoo:NAME
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nchl import zoo
from nchl.cli.parser import Parser, add_options, given, whole_number
from nchl.errors import InvalidArgument, UnknownName
from nchl.runs.settings.config import EvolveConfig, options
from nchl.runs.settings.network_options import FLAT, NETWORK_SETTINGS, NETWORKS
from nchl.runs.settings.presets import PRESETS
from nchl.runs.store.code_copy import Code
from nchl.user_code import using

if TYPE_CHECKING:
    from nchl.networks.build import NetworkSpec
    from nchl.runs.search.objects import Objects

_OPTIONS = [each for each in options() if each.name in NETWORK_SETTINGS and each.name not in ("network", "hidden")]
# (channels, height, width, outputs) of the tasks that the two were published for.
_PICTURES = {"conv-thesis": (3, 64, 64, 3), "conv-hml": (3, 84, 84, 3)}


def add_arguments(parser: Parser) -> None:
    """The network, its sizes, and its options."""
    parser.add_argument("what", metavar="NETWORK|PRESET|RUN", help=f"{', '.join(NETWORKS)}, FILE.py:NAME, a preset, a run or zoo:NAME")
    parser.add_argument(
        "sizes", nargs="*", default=[], type=whole_number, metavar="N", help="neurons of each layer, from the input to the output"
    )
    parser.add_argument(
        "--input-shape",
        nargs="+",
        type=whole_number,
        metavar="N",
        help="shape of one observation for FILE.py:NAME: CHANNELS HEIGHT WIDTH of a picture, or the length of a vector",
    )
    parser.add_argument("--outputs", type=whole_number, metavar="N", help="number of outputs of FILE.py:NAME")
    add_options(parser, _OPTIONS)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Build one individual of the network and return its sizes."""
    from nchl.networks.build import build

    spec, input_shape, outputs, code, parts = _subject(args.what, _sizes(args), given(args, _OPTIONS))
    with using(code.texts):
        network = build(spec, input_shape, outputs)
    details, plasticity = getattr(network, "describe", None), getattr(network, "plasticity", None)
    return {
        "network": spec.network,
        "input_shape": list(input_shape),
        "outputs": outputs,
        "nparams": network.nparams,
        "weights": network.weights_per_individual,
        "input_parts": parts,
        "needs_reward": network.needs_reward,
        "plasticity": plasticity.words() if plasticity is not None else {},
        "blocks": [
            {"name": block.name, "start": block.start, "stop": block.stop, "shape": list(block.shape), "parameters": list(block.parameters)}
            for block in network.layout.blocks
        ],
        "details": details() if callable(details) else "",
        "table": network.layout.describe(),
    }


def text(result: dict[str, Any]) -> str:
    """A line of totals, then the genome block by block."""
    shape = " x ".join(map(str, result["input_shape"]))
    lines = [
        f"{result['network']}: {shape} inputs, {result['outputs']} outputs",
        f"{result['nparams']:,} numbers in the genome, {result['weights']:,} weights",
    ]
    if result["input_parts"]:
        lines.append("its input, part by part: " + ", ".join(map(_place, result["input_parts"])))
    if result["needs_reward"]:
        lines.append("it learns from rewards: act(observation, reward) needs the last action's")
    if result["plasticity"]:
        lines.append("the rule's changes: " + ", ".join(f"{name} {value}" for name, value in result["plasticity"].items()))
    if result["details"]:
        lines += ["", result["details"]]
    return "\n".join([*lines, "", "The genome:", result["table"]])


def _place(part: dict[str, Any]) -> str:
    first, last = part["start"], part["stop"] - 1
    return f"{part['part']} {first}" + (f"..{last}" if last > first else "")


def _sizes(args: argparse.Namespace) -> tuple[int, ...]:
    """The sizes from arguments or options: an observation's shape, then the outputs.

    Raises:
        InvalidArgument: one of the two options without the other, sizes beside them, or options for an MLP.
    """
    if args.input_shape is None and args.outputs is None:
        return tuple(args.sizes)
    if args.what in FLAT:
        raise InvalidArgument(f"--input-shape and --outputs are for networks of pictures and FILE.py:NAME; write {args.what} 28 128 64 8")
    if args.input_shape is None or args.outputs is None:
        raise InvalidArgument("--input-shape and --outputs belong together; for example --input-shape 3 64 64 --outputs 3")
    if args.sizes:
        raise InvalidArgument(f"--input-shape and --outputs give all sizes; leave out {' '.join(map(str, args.sizes))}")
    return (*args.input_shape, args.outputs)


def _subject(
    what: str, sizes: tuple[int, ...], chosen: dict[str, Any]
) -> tuple[NetworkSpec, tuple[int, ...], int, Code, list[dict[str, Any]]]:
    """The network's description, the shape of an observation, the number of outputs, the user's code that the run has kept, and the parts
    of an observation, where a task gives it in parts.
    """
    if what in NETWORKS or ".py:" in what:
        return (*_network(what, sizes, chosen), Code(), [])
    folder = Path(what)
    if what not in PRESETS and zoo.name_of(what) is None and not folder.exists():
        raise UnknownName("network, preset or run folder", what, [*NETWORKS, *PRESETS])
    if sizes or chosen:
        raise InvalidArgument(f"{what!r} defines its network; leave out sizes and options, or name a network")
    if what in PRESETS:
        return _of_config(EvolveConfig.create(preset=what), Code())
    from nchl.runs.store.folder import RunFolder

    record, code = RunFolder.open(folder).read_trusted()
    from nchl.runs.search.objects import Objects, objects_of_record

    return _of_config(record.settings, code, objects_of_record(record, code, Objects(), folder, "nchl.load"))


def _network(name: str, sizes: tuple[int, ...], chosen: dict[str, Any]) -> tuple[NetworkSpec, tuple[int, ...], int]:
    from nchl.networks.build import NetworkSpec

    spec = NetworkSpec(network=name, **chosen)
    spec.check()
    if name in FLAT:
        if len(sizes) < 2 or min(sizes) < 1:
            shown = " ".join(map(str, sizes)) or "none"
            raise InvalidArgument(f"expected two layers or more, each of 1 neuron at least, for example {name} 28 128 64 8; got {shown}")
        if name == "gru" and len(sizes) != 3:
            raise InvalidArgument(f"a gru has three sizes (inputs, hidden neurons, outputs), for example gru 28 16 8; got {len(sizes)}")
        return NetworkSpec(network=name, hidden=sizes[1:-1], **chosen), sizes[:1], sizes[-1]
    sizes = sizes or _PICTURES.get(name, ())
    if ":" in name:
        if len(sizes) not in (2, 4) or min(sizes) < 1:
            got = f"got {' '.join(map(str, sizes))}" if sizes else "got neither"
            raise InvalidArgument(
                f"{name} is called with an observation's shape and the number of outputs: expected --input-shape CHANNELS HEIGHT WIDTH "
                f"--outputs N for a task with pictures (for example {name} --input-shape 3 64 64 --outputs 3), or --input-shape N "
                f"--outputs N for one with vectors; {got}"
            )
        return spec, sizes[:-1], sizes[-1]
    if len(sizes) != 4 or min(sizes) < 1:
        raise InvalidArgument(f"expected CHANNELS HEIGHT WIDTH OUTPUTS, for example {name} 3 64 64 3; got {' '.join(map(str, sizes))}")
    return spec, sizes[:3], sizes[3]


def _of_config(
    config: EvolveConfig, code: Code, objects: Objects | None = None
) -> tuple[NetworkSpec, tuple[int, ...], int, Code, list[dict[str, Any]]]:
    from nchl.runs.search.recipe import recipe
    from nchl.workers.build import task_of

    about = recipe(config, code=code, objects=objects)
    task = task_of(about)
    places = task.simulator.packing.places
    parts = [{"part": name, "start": place.start, "stop": place.stop} for name, place in places.items()]
    return about.network, task.observation_shape, task.action_size, code, parts
