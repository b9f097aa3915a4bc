"""Which files a user's file consists of: itself, and the files beside it that it imports.

Found by reading the `import` lines, without running anything. What is imported by a computed name is not found, nor are data files.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")


def is_installed(root: Path) -> bool:
    """Whether a folder is where pip puts packages: what lies beside a file there has nothing to do with it."""
    return root.name in _INSTALLED


def with_imports(file: Path, root: Path | None = None) -> dict[str, Path]:
    """A file and those that it imports from the same folder, and they from there, and so on.

    Args:
        file: Python source.
        root: the folder that imports start from; None: the file's own.

    Returns:
        Name relative to `root`, with slashes -> path, in the order of the names. A file that is not Python is there alone.

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
            continue  # running it says what is wrong
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
    """What may be a module of ours: the folder that the search starts from, and the name in parts."""
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
            for alias in node.names:  # the name may be a module, or something in one
                yield start, [*module, alias.name]


def _files(start: Path, parts: list[str]) -> Iterator[Path]:
    """The files that are run when a module of this name is imported, as far as there are any."""
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
