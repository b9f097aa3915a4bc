"""The documentation agrees with the code on columns, the notebook and GPUs."""

from __future__ import annotations

import json
import re
import tomllib

from nchl.runs.store.metrics import COLUMNS, is_machine_column
from reference.pages import ROOT

REPORT = (ROOT / "docs" / "report.md").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_table_of_the_columns_is_that_of_the_code() -> None:
    rows = [f"| `{name}` | {says} | {'yes' if is_machine_column(name) else ''} |" for name, says in COLUMNS.items()]
    section = REPORT.partition("## The columns of `metrics.csv`\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    assert table == rows, "write the table of docs/report.md anew:\n" + "\n".join(rows)


def test_the_notebook_is_linked_with_the_extra_that_has_what_it_imports() -> None:
    for page in ("README.md", "docs/tour.md"):
        text = (ROOT / page).read_text()
        assert re.search(r"\]\(\S*examples/sample\.ipynb\)", text), f"{page} does not link the notebook"
        assert "'.[notebook]'" in text
    notebook = json.loads((ROOT / "examples" / "sample.ipynb").read_text())
    source = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.M)) - {"nchl", "torch", "numpy"}
    brought = " ".join([*EXTRAS["notebook"], *(EXTRAS["sim"] if "nchl[sim]" in EXTRAS["notebook"] else [])])
    assert imported
    assert not [name for name in imported if name not in brought]
    assert "jupyterlab" in brought


def test_figures_of_the_page_on_gpus_stand_on_the_pages_that_measured_them() -> None:
    text = (ROOT / "docs" / "gpu.md").read_text()
    elsewhere = (ROOT / "docs" / "softhebb.md").read_text() + (ROOT / "docs" / "results.md").read_text()
    figures = set(re.findall(r"\d+\.\d+(?=[, %])", text))
    assert len(figures) >= 10
    assert not [figure for figure in figures if figure not in elsewhere]
    assert "gpu.md" in (ROOT / "mkdocs.yml").read_text()
