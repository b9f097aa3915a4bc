"""Compile the kernels for this machine on first use and keep the libraries in the folder of `cache`.

A library's name is a hash of the sources, the command and the processor, so that no library of older sources or of another
machine is loaded.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

import torch

from nchl.rules.kernels import cache

_SOURCES = Path(__file__).parent / "source"
_FLAGS: tuple[str, ...] = (
    "-O3",
    "-march=native",
    "-std=c++17",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-strict-aliasing",
    "-w",
)
if platform.machine() in {"x86_64", "AMD64"}:
    _FLAGS += ("-mprefer-vector-width=512",)  # compilers avoid such vectors by default; the median's counting gains a third
_SECONDS = 300

# The purpose of each source, for the note to the user.
_SERVES = {
    "kernels": "plastic convolutional networks",
    "resize": "pictures",
    "softhebb": "SoftHebb",
    "softhebb_share": "SoftHebb",
    "step": "steps of a population",
}
_log = logging.getLogger("nchl")

_finding = threading.Lock()


def library(name: str = "kernels") -> ctypes.CDLL | str:
    """The compiled kernels of the source `name`, or the reason why there are none."""
    with _finding:  # else two threads would compile it twice
        return _library(name)


@lru_cache
def _library(name: str) -> ctypes.CDLL | str:
    compiler = compiler_path()
    if compiler is None:
        return "no C++ compiler: install g++ or clang++, or name one in CXX"
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.glob("*.[ch]pp")):
        digest.update(source.read_bytes())
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        digest.update("\n".join([version, *_FLAGS, *_openmp(), _processor()]).encode())
        path = cache.folder() / f"{name}-{digest.hexdigest()[:24]}.so"
        if not path.exists() or cache.objection(path):
            # A warning, because logging shows warnings without any set-up, in a terminal and in a user's own program.
            _log.warning(
                "nchl compiles its kernels for %s on this machine, which can take half a minute; they are kept in %s for the next time",
                _SERVES.get(name, name),
                path.parent,
            )
            _compile(compiler, _SOURCES / f"{name}.cpp", path)
        return ctypes.CDLL(str(path))
    except subprocess.CalledProcessError as error:
        return f"{compiler} failed: {(error.stderr or error.stdout or 'without a message').strip().splitlines()[-1]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{compiler}: {error}"


def _compile(compiler: str, source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made, objects = Path(folder) / path.name, Path(folder) / f"{source.stem}.o"
        openmp, runtime = _openmp()[:1], _openmp()[1:]
        for command in (
            [compiler, *_FLAGS, *openmp, "-c", str(source), "-o", str(objects)],
            [compiler, "-shared", str(objects), *(runtime or openmp), "-o", str(made)],
        ):
            subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
        made.chmod(0o700)  # independent of the umask: see `cache.objection`
        made.replace(path)  # atomic: another process may be compiling the same


def _openmp() -> list[str]:
    """The flag, and torch's own OpenMP runtime: the threads of a second runtime would compete with torch's."""
    if sys.platform == "darwin":
        return []
    runtimes = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return ["-fopenmp", *map(str, runtimes[:1])]


def compiler_path() -> str | None:
    """The C++ compiler: CXX, else the first of g++, clang++ and c++ that is installed."""
    wanted = os.environ.get("CXX")
    names = [wanted] if wanted else ["g++", "clang++", "c++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def _processor() -> str:
    """The description of the processor on which `-march=native` depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kept = {line for line in lines if line.split("\t")[0].strip() in {"model name", "flags", "Features", "CPU part"}}
        return "\n".join([platform.machine(), *sorted(kept)])
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
