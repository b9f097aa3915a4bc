"""Changed bodies as files that EnvPool takes: a copy of its assets in the user's cache, and new XML files in it.

EnvPool reads `xml_file` from the folder `mujoco/assets_gym` under its `base_path` and takes no other place, so that folder is copied once
for each version of its contents. A file is named by its content: processes that write the same one at the same time write equal bytes,
and each is moved to its place whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from nchl.errors import TaskError
from nchl.rules.kernels import cache

_INSIDE = Path("mujoco") / "assets_gym"


def store(base: Path | str, xml: str) -> tuple[str, str]:
    """Put a changed body where EnvPool finds it.

    Args:
        base: EnvPool's own `base_path`.
        xml: of the body.

    Returns:
        `base_path` and `xml_file` for EnvPool.

    Raises:
        TaskError: the assets are not there, or the cache cannot be written.
    """
    try:
        folder = _copy(Path(base) / _INSIDE)
        name = f"{hashlib.sha256(xml.encode()).hexdigest()[:32]}.xml"
        place = folder / _INSIDE / name
        if not place.exists():
            handle, partial = tempfile.mkstemp(dir=place.parent, suffix=".partial")
            with os.fdopen(handle, "w") as file:
                file.write(xml)
            Path(partial).replace(place)
    except OSError as error:
        raise TaskError(f"a changed body cannot be written to the cache ({error}); NCHL_CACHE=DIR names another folder") from error
    return str(folder), name


def place(base: Path | str, file: str) -> Path:
    """The file that `base_path` and `xml_file` name."""
    return Path(base) / _INSIDE / file


def body_of(base: Path | str, file: str) -> Path:
    """EnvPool's own XML of a body: it reads NAME_envpool.xml where there is one beside NAME.xml, which may be of an older MuJoCo."""
    folder = Path(base) / _INSIDE
    preferred = folder / f"{Path(file).stem}_envpool.xml"
    return preferred if preferred.is_file() else folder / file


@lru_cache
def _copy(source: Path) -> Path:
    """A copy of EnvPool's assets, made whole or not at all; its name is the digest of what is in it."""
    files = sorted(each for each in source.rglob("*") if each.is_file())
    if not files:
        raise TaskError(f"EnvPool's assets are not in {source}: a body cannot be changed; use --simulator gymnasium")
    digest = hashlib.sha256()
    for each in files:
        digest.update(f"{each.relative_to(source)} {each.stat().st_size} ".encode() + each.read_bytes())
    bodies = cache.folder() / "bodies"
    bodies.mkdir(exist_ok=True)
    whole = bodies / digest.hexdigest()[:32]
    if not whole.is_dir():
        partial = Path(tempfile.mkdtemp(dir=bodies, prefix=".partial-"))
        shutil.copytree(source, partial / _INSIDE)
        try:
            partial.rename(whole)
        except OSError:  # another process was first
            shutil.rmtree(partial, ignore_errors=True)
            if not whole.is_dir():
                raise
    return whole
