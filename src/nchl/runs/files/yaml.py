"""YAML from an untrusted source: read into plain lists, numbers and texts, or refused with the line.

Refused are tags (they can name code), anchors and aliases (a few lines of them expand to billions of values), repeated keys (the first
would be lost silently), more than one document, and very large files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nchl.errors import InvalidArgument, RunError, require
from nchl.runs.files.reading import read_text

LARGEST_FILE = 1 << 18
DEEPEST = 6  # a list in a list of values in a grid in a list of grids, and one to spare


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InvalidArgument: not readable, or with refused content; names the file and the line.
        MissingExtra: pyyaml is not installed.
    """
    yaml = require("yaml", "report")
    try:
        text = read_text(path, largest=LARGEST_FILE)
    except RunError as error:
        raise InvalidArgument(str(error)) from error
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            _check_event(event, depth, path)
        _check_keys(yaml.compose(text, Loader=yaml.SafeLoader), path, yaml)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError) as error:  # dates that do not exist, numbers of a million digits
        raise InvalidArgument(f"{path} holds a value that cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise InvalidArgument(f"{path} must hold options, as in `task: CartPole-v1`, got {type(data).__name__ if data else 'nothing'}")
    return data


def _check_event(event: Any, depth: int, path: Path) -> None:
    place = f"{path}, line {event.start_mark.line + 1}"
    if depth > DEEPEST:  # at once: later steps take longer for each level
        raise InvalidArgument(f"{place}: nested more than {DEEPEST} levels deep, which no sweep needs")
    if getattr(event, "anchor", None) is not None:
        raise InvalidArgument(f"{place}: anchors and aliases (& and *) are not read; write the value out")
    if getattr(event, "tag", None) is not None:
        raise InvalidArgument(f"{place}: tags (here {event.tag}) are not read; write the plain value")


def _check_keys(node: Any, path: Path, yaml: Any) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidArgument(f"{path}, line {key.start_mark.line + 1}: the name of an option must be plain text")
            if key.value in seen:
                raise InvalidArgument(f"{path}, line {key.start_mark.line + 1}: {key.value!r} is given twice; keep one")
            seen.add(key.value)
            _check_keys(value, path, yaml)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path, yaml)
