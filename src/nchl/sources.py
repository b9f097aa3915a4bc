"""Finds the files beside a user's file that it imports, by its `import` statements and without running it.

Modules that are imported by a computed name, and data files, are not found.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")


def is_installed(root: Path) -> bool:
    """Whether pip installs packages into the folder, so that files beside each other there are unrelated."""
    return root.name in _INSTALLED


def with_imports(file: Path, root: Path | None = None) -> dict[str, Path]:
    """A file and those that it imports from the same folder, directly or indirectly.

    Args:
        file: Python source.
        root: the folder that imports start from; None: the file's own.

    Returns:
        Name relative to `root`, with slashes -> path, in the order of the names. A file that is not Python stands alone.

    Raises:
        OSError: `file` cannot be read.
    """
    root = file.parent if root is None else root
    only = file.relative_to(root).parts[0].removesuffix(".py") if is_installed(root) else None
    found: dict[str, Path] = {}
    left = [file]
    while left:
        path = left.pop()
        name = path.relative_to(root).as_posix()
        if name in found:
            continue
        source = path.read_bytes()
        found[name] = path
        packages = [folder / "__init__.py" for folder in path.parents if folder != root and folder.is_relative_to(root)]
        left += [each for each in packages if each.is_file()]
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            continue  # the error appears when the file is run
        for start, parts in _imported(tree, path, root):
            if only is None or start != root or parts[:1] == [only]:
                left += [each for each in _files(start, parts) if each.is_relative_to(root)]
    return dict(sorted(found.items()))


def digests(files: dict[str, Path]) -> dict[str, str]:
    """Name -> SHA-256 of each file's content.

    Raises:
        OSError: one cannot be read.
    """
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def _imported(tree: ast.AST, path: Path, root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Imported names that may be files beside this one: the folder that the search starts from, and the name in parts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield root, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            start = root
            if node.level:
                start = path.parent
                for _ in range(node.level - 1):
                    start = start.parent
            module = node.module.split(".") if node.module else []
            for alias in node.names:  # the name may be a module, or an attribute of one
                yield start, [*module, alias.name]


def _files(start: Path, parts: list[str]) -> Iterator[Path]:
    """The existing files that an import of this name runs."""
    folder = start
    for part in parts:
        module, package = folder / f"{part}.py", folder / part / "__init__.py"
        if package.is_file():
            yield package
        elif module.is_file():
            yield module
            return
        folder = folder / part
        if not folder.is_dir():
            return
