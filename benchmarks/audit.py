"""The packages that the extras bring, as they are installed here: version, licence, and what each is used for.

    python benchmarks/audit.py > docs/dependency-audit.md

`pip-audit` is the better tool where it can reach its data (pypi.org or osv.dev); this table is for where it cannot. What is used
of a package, and what is known to be risky about it, is written down here by hand and must be kept true.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Package -> (how it is used, what is known to be risky about it and what stands against that).
KNOWN = {
    "torch": ("tensors, compiler", "`torch.load` runs pickles: never called. Compiled code is cached: in a folder that is yours alone"),
    "numpy": ("arrays, seeds", "`np.load` of object arrays runs pickles: never called"),
    "safetensors": ("every tensor on disk", "none known: it holds no code; headers are checked before it sees them"),
    "jaxtyping": ("shapes in signatures", "none known; checks run in tests only"),
    "gymnasium": ("the contract of tasks", "`module:Id` imports that module: asked about where a run folder names it"),
    "envpool": ("simulators in C++", "native code that gets numbers from us alone"),
    "cma": ("CMA-ES", "its own way of saving is a pickle: not used, the state is saved as arrays"),
    "threadpoolctl": ("thread numbers", "none known"),
    "rich": ("progress line", "none known; names are shown without its markup"),
    "tensorboard": ("viewing", "a server: started by the user alone, on loopback by default. Its record writer is used without it"),
    "setproctitle": ("names of workers", "none known"),
    "pybullet": ("AntBulletEnv-v0", "native code, no longer maintained; gets numbers from us alone"),
    "pybullet-envs-gymnasium": ("AntBulletEnv-v0", "none known"),
    "datasets": ("parquet files, downloads", "scripts of data sets: `trust_remote_code` is never given"),
    "pillow": ("decoding images", "decoders in C of untrusted bytes; EPS starts a program. Seven plain formats are allowed, sizes limited"),
    "matplotlib": ("pictures", "none known; draws our own numbers and names"),
    "evosax": ("more strategies", "none known; gets numbers from us alone"),
    "jax": ("evosax's arrays", "compiles what evosax writes; its own formats are not read"),
    "jupyterlab": ("the notebook", "a server: started by the user alone, on loopback by default"),
    "ipykernel": ("the notebook", "runs the cells of a notebook, which is what it is for"),
    "mujoco-warp": ("MuJoCo on the device of the networks", "none known; gets numbers from us alone, and models that the user names"),
    "warp-lang": (
        "kernels of mujoco-warp",
        "compiles mujoco-warp's kernels and ours, and loads them from a cache folder of the user's own",
    ),
    "ray": ("many machines", "pickles between nodes, no authentication: its ports must not be open (SECURITY.md)"),
    "imageio": ("films", "starts the ffmpeg of imageio-ffmpeg, with a list of words that we make"),
    "scipy": ("statistics", "none known"),
    "networkx": ("small graphs", "none known; its readers are not used"),
    "jinja2": ("the report page", "templates are our own; names are escaped (autoescape)"),
    "pyyaml": ("sweep files", "`yaml.load` runs code: only the safe loader is used"),
    "wandb": ("tracking, if asked", "sends to a service that the user has set up"),
    "mlflow-skinny": ("tracking, if asked", "sends to a service that the user has set up; its server and models are not used"),
}


def licence(package: str) -> str:
    about = importlib.metadata.metadata(package)
    classified = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License :: ") and line.count("::") > 1
    ]
    given = about.get("License-Expression") or ", ".join(classified) or (about.get("License") or "").strip().splitlines()[:1]
    return (given if isinstance(given, str) else given[0])[:60] if given else "not stated"


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    brought: dict[str, list[str]] = {}
    for extra, requirements in extras.items():
        if extra in ("dev", "docs", "all"):
            continue
        for requirement in requirements:
            name = re.split(r"[\[<>=; ]", requirement)[0]
            if name == "nchl":  # an extra that brings another
                continue
            brought.setdefault(name, []).append(f"`{extra}`" if extra else "")
    missing = [name for name in brought if name not in KNOWN]
    if missing:
        print(f"nothing is written down about {', '.join(missing)}: look at them, then add them to KNOWN", file=sys.stderr)
        return 1
    print("# Dependencies, audited\n")
    print("Made by `python benchmarks/audit.py > docs/dependency-audit.md`, as `pip-audit` could not reach its data here.")
    print("Versions are those that the tests ran with; licences are what the packages state. Run `pip-audit` where there is a network.\n")
    print("| package | version | licence | extra | used for | known risk, and what stands against it |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, extras_of in brought.items():
        try:
            version, stated = importlib.metadata.version(name), licence(name)
        except importlib.metadata.PackageNotFoundError:
            version, stated = "not installed", ""
        used, risk = KNOWN[name]
        print(f"| {name} | {version} | {stated} | {', '.join(filter(None, extras_of))} | {used} | {risk} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
