"""Rules of the source that no other tool checks: the order of imports, printing, forbidden calls, the length of files."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import nchl

SOURCE = Path(nchl.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# Each floor may import itself and those before it.
FLOORS = (
    "lazy",
    "errors",
    "wire",
    "child",
    "cores",
    "quiet",
    "seeds",
    "seeded",
    "sources",
    "user_code",
    "genome",
    "rules",
    "unroll",
    "networks",
    "testing",
    "simulators",
    "perturbations",
    "tasks",
    "rollout",
    "strategies",
    "workers",
    "evolve",
    "zoo",
    "runs",
    "vision",
    "report",
    "bench",
    "cli",
)
# Strategies see vectors and scores, never a network, so that they can be used for any problem.
NARROW = {"strategies": {"lazy", "errors", "cores", "seeds", "strategies"}}
# The same order inside a room; what is named here lies directly in it.
INSIDE = {
    "runs": ("files", "settings", "store", "sinks", "provenance", "search", "function_run", "session", "results", "adaptation", "sweep"),
}
LONGEST_FILE = 320


def floor_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """(line, floor) of every import of the package, also of those inside functions and behind TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}:{node.lineno}: relative import; name the module in full"
            names = [f"nchl.{alias.name}" for alias in node.names] if node.module == "nchl" else [node.module or ""]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "nchl" and len(parts) > 1 and parts[1] != "__version__":
                yield node.lineno, parts[1]


def breaches(path: Path, source: str) -> list[str]:
    floor = floor_of(path)
    allowed = NARROW.get(floor, set(FLOORS[: FLOORS.index(floor) + 1]))
    found = imports(ast.parse(source), path)
    return [f"{path.relative_to(SOURCE)}:{line}: {floor} imports {other}" for line, other in found if other not in allowed]


def test_every_file_imports_from_its_own_floor_or_an_earlier_one() -> None:
    inside = [path for path in FILES if path.name not in ("__init__.py", "__main__.py") or path.parent != SOURCE]
    unknown = {floor_of(path) for path in inside} - set(FLOORS)
    assert not unknown, f"no floor is named for {unknown}; add it to FLOORS in the right place"
    found = [breach for path in inside for breach in breaches(path, path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "from nchl.cli import main",
        "import nchl.runs.settings.config",
        "from nchl import runs",
        "def late():\n    from nchl.evolve import evolve",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nchl.workers import local",
    ],
)
def test_the_walk_sees_every_kind_of_import(source: str) -> None:
    assert breaches(SOURCE / "networks" / "example.py", source)


def test_strategies_never_see_a_network() -> None:
    assert breaches(SOURCE / "strategies" / "example.py", "from nchl.networks import build")
    assert not breaches(SOURCE / "strategies" / "example.py", "from nchl.errors import NchlError")


def breaches_inside(room: str, path: Path, source: str) -> list[str]:
    order = INSIDE[room]
    inner = path.relative_to(SOURCE / room).parts[0].removesuffix(".py")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        others = [name.split(".")[2] for name in names if name.startswith(f"nchl.{room}.")]
        found += [
            f"{path.relative_to(SOURCE)}:{node.lineno}: {inner} imports {other}"
            for other in others
            if order.index(other) > order.index(inner)
        ]
    return found


@pytest.mark.parametrize("room", INSIDE)
def test_inside_a_room_every_file_imports_from_its_own_part_or_an_earlier_one(room: str) -> None:
    paths = [path for path in FILES if path.is_relative_to(SOURCE / room) and path != SOURCE / room / "__init__.py"]
    parts = {path.relative_to(SOURCE / room).parts[0].removesuffix(".py") for path in paths}
    assert parts == set(INSIDE[room])
    found = [breach for path in paths for breach in breaches_inside(room, path, path.read_text())]
    assert not found, "\n".join(found)
    first, last = INSIDE[room][0], INSIDE[room][-1]
    example = SOURCE / room / first / "example.py"
    for source in (f"from nchl.{room} import {last}", f"def late():\n    import nchl.{room}.{last}.some"):
        assert breaches_inside(room, example, source)


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def lines_inside_a_fork_of_the_generator(tree: ast.AST) -> set[int]:
    """Where seeding the global generator changes nothing outside: a user's own function draws from it."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])]
    return {line for block in blocks for line in range(block.lineno, (block.end_lineno or block.lineno) + 1)}


def test_only_the_command_line_prints() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in FILES
        if floor_of(path) != "cli"
        for line, name in calls(parsed(path))
        if name in ("print", "sys.stdout.write", "sys.stderr.write", "sys.exit", "exit", "quit")
    ]
    found = [line for line in found if not line.startswith("__main__.py")]
    assert not found, "\n".join(found)


def test_nothing_that_is_read_can_execute() -> None:
    modules_that_execute = {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
    forbidden = {"torch.load", "eval", "exec", "pickle.load", "pickle.loads", "np.load", "yaml.load", "joblib.load", "marshal.loads"}
    found = []
    for path in FILES:
        tree = parsed(path)
        name = path.relative_to(SOURCE)
        found += [f"{name}:{line}: {call}()" for line, call in calls(tree) if call in forbidden]
        for node in ast.walk(tree):
            modules = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            modules |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
            found += [f"{name}:{node.lineno}: import {module}" for module in modules & modules_that_execute]
    assert not found, "\n".join(found)


def test_no_randomness_is_global() -> None:
    forbidden = {"torch.manual_seed", "np.random.seed", "random.seed", "torch.seed"}
    allowed = {
        "np.random.default_rng",
        "np.random.Generator",
        "np.random.Philox",
        "np.random.SeedSequence",
        "np.random.PCG64",
        "np.random.RandomState",
        "np.random.get_state",  # to keep it, and to give it back, draws nothing
        "np.random.set_state",
    }
    found = []
    for path in FILES:
        harmless = lines_inside_a_fork_of_the_generator(parsed(path))
        for line, call in calls(parsed(path)):
            drawn = call.startswith(("np.random.", "numpy.random.")) and call not in allowed
            if (call in forbidden or drawn) and line not in harmless:
                found.append(f"{path.relative_to(SOURCE)}:{line}: {call}")
    assert not found, "\n".join(found)


def test_files_are_short_and_say_what_they_hold() -> None:
    for path in FILES:
        source = path.read_text()
        length = len(source.splitlines())
        assert length <= LONGEST_FILE, f"{path.relative_to(SOURCE)} has {length} lines; {LONGEST_FILE} is the most"
        assert ast.get_docstring(ast.parse(source)), f"{path.relative_to(SOURCE)} does not say what it holds"
