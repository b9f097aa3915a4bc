"""A user's code, `FILE.py:NAME`: which files belong to it, and loading it from their text.

A file belongs with the modules beside it that it imports, and with those that these import; `gather` finds them. `load_object` runs
exactly these texts, from the disk or, inside `using`, as they were handed over: a run's own copy, at a worker, or on a node without
the file. Modules beside a file are its own: two runs with two versions never share one.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import importlib.abc
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from nchl.errors import InvalidArgument
from nchl.sources import with_imports

PLACE = re.compile(r"(.+\.py):([^:/\\]+)")
_MODULE = re.compile(r"(nchl_user_[0-9a-f]{12}_)(.+)")

# Texts by resolved path, used in place of the files on the disk.
_given: ContextVar[Mapping[str, bytes]] = ContextVar("_given")


def is_place(text: object) -> bool:
    """Whether a value has the form `FILE.py:NAME`."""
    return isinstance(text, str) and PLACE.fullmatch(text) is not None


def refuse_file_alone(text: str, option: str, kind: str) -> None:
    """Refuse `FILE.py` where `FILE.py:NAME` is wanted; `kind`: of the object that NAME names."""
    if text.endswith(".py"):
        raise InvalidArgument(f"{option} {text!r} is a file: name the {kind} too, for example {text}:{Path(text).stem}")


def gather(file: Path) -> dict[str, bytes]:
    """A file and the modules beside it that it imports, see `sources.with_imports`: content by resolved path.

    A file beside it that has the name of a module of Python's own does not stand in for that.

    Raises:
        OSError: a file cannot be read.
    """
    file = file.resolve()
    found = with_imports(file)
    return {str(path): path.read_bytes() for name, path in found.items() if path == file or not _is_pythons(name)}


@contextlib.contextmanager
def using(texts: Mapping[str, bytes]) -> Iterator[None]:
    """Inside, `load_object` uses these texts, by path, in place of the files on the disk."""
    token = _given.set(texts)
    try:
        yield
    finally:
        _given.reset(token)


def load_object(place: str, what: str) -> Any:
    """The callable NAME of `"FILE.py:NAME"`; `what` describes it in errors. Equal texts are run once.

    Raises:
        InvalidArgument: no such file, the file fails to run, or it holds no such callable.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not file or not name.isidentifier():
        raise InvalidArgument(f"expected {what} as FILE.py:NAME, got {place!r}")
    if path.suffix != ".py":  # Python would also load compiled code, which cannot be inspected
        raise InvalidArgument(f"{what}: {file!r} is not a Python file; its name must end in .py")
    texts = _given.get({})
    if file not in texts:
        if not path.is_file():
            raise InvalidArgument(f"{what}: there is no file {file!r}")
        try:
            file, texts = str(path.resolve()), gather(path)
        except OSError as error:
            raise InvalidArgument(f"{what}: {file!r} cannot be read ({error})") from error
    found = getattr(_Bundle.of(Path(file), texts).module(what, str(path)), name, None)
    if not callable(found) and not hasattr(found, "function"):
        raise InvalidArgument(f"{what}: {file!r} holds no function {name!r}")
    return found


class _Bundle:
    """A file with the modules beside it that it imports, for Python's import system.

    Args:
        path: of the file, resolved.
        texts: of it and its neighbours by resolved path.
    """

    _known: dict[str, _Bundle] = {}  # noqa: RUF012  by prefix

    def __init__(self, path: Path, texts: Mapping[str, bytes], prefix: str) -> None:
        self.path, self.texts, self.prefix = path, texts, prefix
        self.name = prefix + (path.stem if path.stem.isidentifier() else "main")
        self.loaded: ModuleType | None = None

    @classmethod
    def of(cls, path: Path, texts: Mapping[str, bytes]) -> _Bundle:
        """The bundle of these texts, always the same one."""
        own = {name: text for name, text in texts.items() if Path(name).is_relative_to(path.parent)}
        digest = hashlib.sha256(str(path).encode())
        for name in sorted(own):
            digest.update(f"\0{name}\0{len(own[name])}\0".encode() + own[name])
        prefix = f"nchl_user_{digest.hexdigest()[:12]}_"
        return cls._known.setdefault(prefix, cls(path, own, prefix))

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module; this class is an entry of `sys.meta_path`."""
        match = _MODULE.fullmatch(name)
        bundle = cls._known.get(match[1]) if match else None
        if match is None or bundle is None:
            return None
        if name == bundle.name:
            return bundle.spec(name, bundle.path)
        for file in _candidates(bundle.path.parent, *match[2].split(".")):
            if str(file) in bundle.texts:
                return bundle.spec(name, file)
        return None

    def spec(self, name: str, file: Path) -> ModuleSpec | None:
        """The import spec of a file of the bundle."""
        inside = [str(file.parent)] if file.name == "__init__.py" and name != self.name else None
        return importlib.util.spec_from_file_location(name, file, loader=_Text(str(file), self), submodule_search_locations=inside)

    def module(self, what: str, shown: str) -> ModuleType:
        """The file's module, run at the first call; `shown` is its name in errors."""
        if self.loaded is None:
            from nchl.seeded import seeded  # imports numpy, which reading a run does not need

            draws = "torch" in sys.modules or any(b"torch" in text for text in self.texts.values())
            with seeded(0, with_torch=draws):  # a file that draws random numbers draws the same ones in every process; one thread at a time
                if _Bundle not in sys.meta_path:
                    sys.meta_path.insert(0, _Bundle)  # before the finder of packages on the disk
                try:
                    self.loaded = importlib.import_module(self.name)
                except (Exception, SystemExit) as error:
                    raise InvalidArgument(f"{what}: {shown!r} could not be run ({type(error).__name__}: {error})") from error
        return self.loaded

    def imports(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` for the bundle's files: modules beside them come from the bundle."""
        beside = level == 0 and any(str(file) in self.texts for file in _candidates(self.path.parent, name.partition(".")[0]))
        return builtins.__import__(self.prefix + name if beside else name, globals, locals, fromlist or (), level)


class _Text(importlib.abc.SourceLoader):
    """Loads a file of a bundle from its text, without cached bytecode, which could belong to another text."""

    def __init__(self, file: str, bundle: _Bundle) -> None:
        self._file, self._bundle = file, bundle

    def get_filename(self, fullname: str) -> str:
        """The path in tracebacks."""
        return self._file

    def get_data(self, path: Any) -> bytes:
        """The text of the file; other data does not exist."""
        if path != self._file:
            raise OSError(path)
        return self._bundle.texts[self._file]

    def exec_module(self, module: ModuleType) -> None:
        """Run it; in a bundle of several files, with an `import` that finds them."""
        if len(self._bundle.texts) > 1:
            vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._bundle.imports}
        super().exec_module(module)


def _is_pythons(name: str) -> bool:
    top = name.partition("/")[0].removesuffix(".py")
    return top in sys.stdlib_module_names or top == "nchl"


def _candidates(root: Path, *parts: str) -> tuple[Path, Path]:
    inside = root.joinpath(*parts)
    return inside / "__init__.py", inside.with_name(f"{inside.name}.py")
