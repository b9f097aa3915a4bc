"""The checks of `nchl doctor`; each function returns the findings on one topic."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from nchl import cores
from nchl.errors import install_command
from nchl.simulators import SIMULATORS

GOOD, POOR, ABSENT = "ok", "note", "missing"
_SECONDS_FOR_AN_IMPORT = 120
_SHORT_SPIN = 1_000_000  # turns of an idle loop: some milliseconds

# Extra of pyproject.toml -> its purpose, and its distributions.
EXTRAS = {
    "sim": (
        "evolving on simulators",
        ("gymnasium", "mujoco", "box2d", "envpool", "cma", "threadpoolctl", "rich", "tensorboard", "setproctitle"),
    ),
    "bullet": ("AntBulletEnv-v0", ("pybullet", "pybullet-envs-gymnasium")),
    "vision": ("SoftHebb on images", ("datasets", "pillow", "rich", "tensorboard", "matplotlib")),
    "cluster": ("many machines", ("ray",)),
    "report": ("films, reports and sweeps", ("matplotlib", "imageio", "imageio-ffmpeg", "scipy", "networkx", "jinja2", "pyyaml")),
    "tracking": ("Weights & Biases, MLflow", ("wandb", "mlflow-skinny")),
    "evosax": ("--strategy evosax:NAME", ("evosax", "jax")),
    "warp": ("--simulator warp", ("mujoco-warp", "warp-lang")),
}


class Finding(NamedTuple):
    """The result of one check: its state (`ok`, `note` or `missing`), what was found, and advice, which may be empty."""

    topic: str
    name: str
    state: str
    found: str
    do: str = ""


def processor() -> list[Finding]:
    """The instruction set that torch's kernels use; results are bit-identical between machines that have the same."""
    import torch

    topic = "Processor"
    capability = torch.backends.cpu.get_cpu_capability()
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; networks run on the processor"
    return [
        Finding(topic, "instruction set", GOOD, f"{capability} ({_model()})"),
        Finding(topic, "cores for this process", GOOD, str(len(cores.available()))),
        Finding(topic, "CUDA device", GOOD, cuda),
    ]


def threads() -> list[Finding]:
    """The number of torch's threads, and how they wait between two steps."""
    import torch

    topic = "torch"
    policy, spin = os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")
    if policy:
        waiting = Finding(topic, "OpenMP waiting", GOOD, f"OMP_WAIT_POLICY={policy}, from the environment")
    elif spin and spin.isdigit() and int(spin) <= _SHORT_SPIN:
        waiting = Finding(topic, "OpenMP waiting", GOOD, f"short (GOMP_SPINCOUNT={spin}), which leaves the cores to the simulator")
    else:
        waiting = Finding(
            topic,
            "OpenMP waiting",
            POOR,
            f"GOMP_SPINCOUNT={spin}: idle threads take cores from the simulator",
            "unset it, or set GOMP_SPINCOUNT=30000",
        )
    wanted = os.environ.get("OMP_NUM_THREADS")
    return [
        Finding(topic, "version", GOOD, torch.__version__),
        Finding(topic, "threads", GOOD, f"{torch.get_num_threads()}" + (f" (OMP_NUM_THREADS={wanted})" if wanted else "")),
        waiting,
    ]


def compiler() -> list[Finding]:
    """The C++ compiler and the cache folder that the compiled population step needs."""
    from nchl.rules.kernels.build import compiler_path

    topic = "Compiled step"
    found = compiler_path()
    if found:
        first = Finding(topic, "C++ compiler", GOOD, f"{found} ({_first_line([found, '--version'])})")
    else:
        first = Finding(
            topic,
            "C++ compiler",
            ABSENT,
            "none; large populations run the same step uncompiled, several times slower",
            "install one: apt install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), xcode-select --install (macOS)",
        )
    return [first, _cache(topic)]


def simulators() -> list[Finding]:
    """Whether each simulator of the registry can be used on this machine."""
    findings = []
    for name, entry in SIMULATORS.items():
        problem = _said_elsewhere(f"from nchl.simulators import registry; print(registry.module({name!r}).problem() or '')")
        if problem is None:
            versions = ", ".join(f"{package} {version}" for package in entry.packages if (version := _version(package)))
            findings.append(Finding("Simulators", entry.title, GOOD, versions))
        else:
            findings.append(Finding("Simulators", entry.title, ABSENT, entry.without, problem))
    return findings


def graphics() -> list[Finding]:
    """The OpenGL libraries that films of MuJoCo tasks are drawn with, without a display."""
    topic = "Drawing without a display"
    findings = []
    for library, package in (("GL", "libgl1"), ("EGL", "libegl1"), ("OSMesa", "libosmesa6")):
        path = ctypes.util.find_library(library)
        if path:
            findings.append(Finding(topic, f"lib{library}", GOOD, path))
        else:
            others = [finding.name for finding in findings if finding.state == GOOD]
            if others:
                findings.append(Finding(topic, f"lib{library}", GOOD, f"not found, and not needed beside {others[0]}"))
            else:
                findings.append(Finding(topic, f"lib{library}", ABSENT, "not found", f"for films of MuJoCo tasks: apt install {package}"))
    return findings


def packages() -> list[Finding]:
    """The versions of the optional packages, by the extra that brings them."""
    topic = "Packages"
    base = ", ".join(f"{name} {_version(name)}" for name in ("nchl", "torch", "numpy", "safetensors"))
    findings = [Finding(topic, "nchl itself", GOOD, base)]
    for extra, (purpose, names) in EXTRAS.items():
        versions = {name: _version(name) for name in names}
        there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        missing = [name for name, version in versions.items() if not version]
        if not missing:
            findings.append(Finding(topic, f"{extra} ({purpose})", GOOD, there))
        else:
            found = f"without {', '.join(missing)}" + (f"; there are {there}" if there else "")
            findings.append(Finding(topic, f"{extra} ({purpose})", ABSENT, found, install_command(extra)))
    return findings


ALL = (processor, threads, compiler, simulators, graphics, packages)


def _cache(topic: str) -> Finding:
    from nchl.rules.kernels import cache

    folder, name = cache.wanted(), "cache of compiled code"
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    problem = cache.objection(folder.resolve()) if folder.exists() else ""
    if not problem and not os.access(parent, os.W_OK):
        problem = f"{folder} cannot be written to"
    if not problem:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
        return Finding(topic, name, GOOD, f"{folder} ({size / 2**20:.0f} MB)")
    return Finding(topic, name, POOR, f"{problem}, so every process compiles anew", "set NCHL_CACHE to a folder of your own")


def _said_elsewhere(program: str) -> str | None:
    """The last line that a program prints in a process of its own, because an import may end its process.

    Returns:
        The line, or a sentence on the program's failure; None where it prints nothing.
    """
    # The child imports what this process imports, also where nchl is not installed.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_FOR_AN_IMPORT, env=environment)
    except subprocess.TimeoutExpired:
        return f"its import did not end within {_SECONDS_FOR_AN_IMPORT} s"
    if done.returncode < 0:
        return f"its import killed the process (signal {-done.returncode})"
    if done.returncode > 0:
        return (done.stderr.strip().splitlines() or [f"its import ended the process with code {done.returncode}"])[-1]
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _first_line(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.partition("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        return "does not start"


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown model"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
