"""The properties of a machine on which the bits of a result depend, and a check that they are the same.

Floating point numbers depend on the order of additions, and that on the compiled code: another version of torch, another
instruction set, simulator or back end may give another last digit, and evolution amplifies it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import nchl
from nchl.errors import RunError
from nchl.simulators import SIMULATORS
from nchl.strategies.registry import EVOSAX, STRATEGIES, packages

_OF_SIMULATORS = tuple(package for entry in SIMULATORS.values() for package in entry.packages)
_OF_STRATEGIES = tuple(package for name in (*STRATEGIES, EVOSAX) for package in packages(name))
_PACKAGES = tuple(dict.fromkeys(("nchl", "torch", "numpy", "safetensors", *_OF_SIMULATORS, *_OF_STRATEGIES, "ray")))


def versions() -> dict[str, str]:
    """Versions of Python and of those installed packages that a run can use."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def of_simulator(name: str) -> dict[str, str]:
    """Versions of those installed packages that decide the results of a simulator; empty for one that is not in the registry."""
    installed = versions()
    return {package: installed[package] for package in (SIMULATORS[name].packages if name in SIMULATORS else ()) if package in installed}


def commit() -> dict[str, str]:
    """`nchl_commit` if nchl runs from a checkout of its repository or was installed from one by pip; else empty.

    It is the commit's hash, and ` (dirty)` if the sources of the checkout differ from the commit. If a checkout has changed since pip
    installed from it, its commit is unknown.
    """
    package = Path(nchl.__file__).resolve().parent
    root = package.parent.parent
    # The environment in which nchl is installed may lie in a clone of another project, with a commit of its own.
    if package == root / "src" / "nchl" and (root / ".git").exists():
        return _of_checkout(root)
    try:
        distribution = importlib.metadata.distribution("nchl")
        if Path(str(distribution.locate_file("nchl"))).resolve() != package:
            return {}
        told = json.loads(distribution.read_text("direct_url.json") or "{}")
        if "dir_info" in told:
            root = Path(url2pathname(urlsplit(told["url"]).path))
            return _of_checkout(root) if _sources(root / "src" / "nchl") == _sources(package) else {}
        return {"nchl_commit": str(told["vcs_info"]["commit_id"])}
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _of_checkout(root: Path) -> dict[str, str]:
    found, changed = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--", "src")
    if not found:
        return {}
    return {"nchl_commit": found + ("" if changed == "" else " (dirty)" if changed else " (dirty or not: git did not say)")}


def _sources(package: Path) -> dict[str, bytes]:
    """The package's Python and C++ files, by their path in it."""
    files = (file for kind in ("*.py", "*.cpp", "*.hpp") for file in package.rglob(kind))
    return {file.relative_to(package).as_posix(): file.read_bytes() for file in files}


def _git(root: Path, *words: str) -> str | None:
    """The output of git for a checkout; None if it fails or is not installed."""
    # Variables of a git hook would name another repository; a file system monitor is a program of the repository's choice.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "-c", "core.fsmonitor=false", "--no-optional-locks", *words],
            capture_output=True,
            text=True,
            timeout=20,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


@functools.cache
def installed() -> dict[str, str]:
    """SHA-256 of nchl's sources, and of the names and versions of all installed packages and of Python."""
    sources = hashlib.sha256()
    for name, data in sorted(_sources(Path(nchl.__file__).resolve().parent).items()):
        sources.update(f"{name} {len(data)} ".encode() + data)
    packages = sorted(f"{each.metadata['Name']}=={each.version}" for each in importlib.metadata.distributions())
    names = "\n".join([platform.python_version(), *packages])
    return {"nchl": sources.hexdigest(), "packages": hashlib.sha256(names.encode()).hexdigest()}


def same_bits(*, backend: str, simulator: str, strategy: str) -> dict[str, str]:
    """The properties that must be equal for two runs with the same settings to be bit-identical."""
    import torch

    installed = versions()
    # By promise, the versions of nchl and safetensors change no result.
    matter = ("torch", "numpy", *of_simulator(simulator), *packages(strategy))
    return {
        "backend": backend,
        "simulator": simulator,
        "instruction set": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        **{package: installed[package] for package in matter if package in installed},
    }


def check_same_bits(before: Mapping[str, str], now: Mapping[str, str], *, allow: bool) -> list[str]:
    """The differences between the machine that began a run and this one, as lines for the user.

    Raises:
        RunError: something differs and `allow` is false.
    """
    differences = [
        f"{name} was {before.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if differences and not allow:
        raise RunError(
            f"a run continued on this machine would not be bit-identical: {'; '.join(differences)}. "
            "Continue it on the first machine, or accept other digits with --allow-other-machine"
        )
    return differences
