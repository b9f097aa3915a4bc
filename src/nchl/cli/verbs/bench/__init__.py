"""`nchl bench NAME`: measure the speed of one part on this machine. The measuring is in `nchl.bench`."""

from __future__ import annotations

import importlib

from nchl.errors import UnknownName

BENCHES = {
    "search": "strategies at one budget of steps, on tasks and functions",
    "step": "microseconds per individual and step of each rule, beside the naive code",
    "rollout": "steps per second of acting and rewiring networks, beside the bare simulator",
    "conv": "plastic convolutions, beside their dense unrolled form",
    "softhebb": "the unsupervised epoch, beside the machine's own matrix product",
}


def dispatch(words: list[str]) -> int:
    """Run the benchmark that the first word names; each is a verb of its own."""
    from nchl.cli import run_verb, show

    if not words or words[0] in ("-h", "--help"):
        show(overview())
        return 0
    name, rest = words[0], words[1:]
    if name not in BENCHES:
        raise UnknownName("benchmark", name, BENCHES)
    module = importlib.import_module(f"{__name__}.{name}")
    return run_verb(module, f"nchl bench {name}", BENCHES[name], rest)


def overview() -> str:
    """The text of `nchl bench --help`."""
    lines = [f"  {name:<9} {line}" for name, line in BENCHES.items()]
    return "\n".join(
        [
            "usage: nchl bench NAME [options] [--json]",
            "",
            "Measure the speed of one part on this machine, which should be idle otherwise.",
            "",
            *lines,
            "",
            "`nchl bench NAME --help` lists the options of one of them.",
        ]
    )
