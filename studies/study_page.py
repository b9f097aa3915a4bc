"""The page of a study: words written by hand, around tables that are made from the committed cells alone."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

from study_folder import Study, StudyError

_BLOCK = re.compile(r"<!-- table ([a-z0-9-]+) -->\n.*?<!-- /table -->", re.S)


def page_of(study: Study) -> ModuleType:
    """`studies/NAME/page.py`, which has `tables(study)` (name -> Markdown) and may have `pictures(study, folder)`."""
    spec = importlib.util.spec_from_file_location(f"page_of_{study.name}", study.folder / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module


def written(study: Study, text: str) -> str:
    """The page's text with its tables made anew.

    Raises:
        StudyError: a table that has no place on the page, or a place without a table.
    """
    tables = {"progress": progress(study), **page_of(study).tables(study)}
    places = _BLOCK.findall(text)
    if sorted(places) != sorted(tables):
        raise StudyError(f"docs/{study.name}.md has places for the tables {sorted(places)}, and there are {sorted(tables)}")
    return _BLOCK.sub(lambda match: f"<!-- table {match[1]} -->\n{tables[match[1]].strip()}\n<!-- /table -->", text)


def progress(study: Study) -> str:
    """Markdown: how many cells of each sweep are there, and a warning as long as some are missing."""
    missing = study.missing()
    rows = [
        f"| `{sweep}` | {len(study.cell_names(sweep)) - len(missing.get(sweep, ()))} | {len(study.cell_names(sweep))} |"
        for sweep in study.sweeps
    ]
    table = "\n".join(["| sweep | cells there | cells in all |", "| --- | ---: | ---: |", *rows])
    left = sum(map(len, missing.values()))
    if not left:
        return f"{table}\n\nAll cells are there."
    return f"**This page is partial: {left} cells are not there yet.** `python studies/study.py run {study.name}` makes them.\n\n{table}"
