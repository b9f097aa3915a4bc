"""No line of the software can run what it reads: looked for in the sources themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("src", "reproduce", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "commands", "xmlrpc"}
BUILT_IN = {"eval", "exec", "compile", "__import__", "input"}
CALLS = {
    "os.system": "subprocess.run with a list",
    "os.popen": "subprocess.run with a list",
    "yaml.load": "yaml.safe_load",
    "yaml.unsafe_load": "yaml.safe_load",
    "yaml.full_load": "yaml.safe_load",
    "torch.hub.load": "nothing",
    "tempfile.mktemp": "tempfile.mkstemp",
}


def complaints(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        called, keywords = ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in BUILT_IN:
            found.append(f"line {node.lineno}: {called}()")
        if called in CALLS:
            found.append(f"line {node.lineno}: {called}(); use {CALLS[called]}")
        if called == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if keywords.get("shell", "False") != "False":
            found.append(f"line {node.lineno}: shell={keywords['shell']}")
        if keywords.get("allow_pickle", "False") != "False":
            found.append(f"line {node.lineno}: allow_pickle={keywords['allow_pickle']}")
        if keywords.get("trust_remote_code", "False") != "False":
            found.append(f"line {node.lineno}: trust_remote_code={keywords['trust_remote_code']}")
        if called.startswith("yaml.") and keywords.get("Loader", "yaml.SafeLoader") not in ("yaml.SafeLoader", "yaml.CSafeLoader"):
            found.append(f"line {node.lineno}: a loader that is not safe")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_here_runs_what_it_reads(path: Path) -> None:
    assert complaints(path.read_text()) == []


def test_the_search_finds_what_it_looks_for() -> None:
    for line in (
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "yaml.load(f)",
        "yaml.parse(f, Loader=yaml.Loader)",
        "subprocess.run('x', shell=True)",
        "np.load(p, allow_pickle=True)",
        "os.system('x')",
    ):
        assert complaints(line), line
    for line in ("model.eval()", "torch.load(p, weights_only=True)", "torch.compile(f)", "re.compile('x')", "yaml.safe_load(t)"):
        assert not complaints(line), line
