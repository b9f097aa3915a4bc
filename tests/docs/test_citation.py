"""`CITATION.cff` is of this version, names the works that the package implements, and has the form that GitHub and Zenodo read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nchl

yaml = pytest.importorskip("yaml")

FILE = Path(__file__).resolve().parents[2] / "CITATION.cff"
# What the schema of the Citation File Format 1.2.0 requires, as far as the file uses it.
REQUIRED = {"cff-version", "message", "title", "authors"}
REFERENCE = {"type", "title", "authors"}
TYPES = {"article", "conference-paper", "thesis"}
KEYS = REFERENCE | {"year", "doi", "collection-title", "identifiers", "thesis-type", "institution", "journal", "repository-code"}


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return data


def test_it_cites_this_version_of_the_software(citation: dict[str, Any]) -> None:
    assert set(citation) >= REQUIRED
    assert (citation["cff-version"], citation["type"], citation["license"]) == ("1.2.0", "software", "MIT")
    assert citation["version"] == nchl.__version__


def test_it_names_both_works_by_title(citation: dict[str, Any]) -> None:
    titles = {reference["title"]: reference for reference in citation["references"]}
    assert titles["Neuron-centric Hebbian Learning"]["identifiers"] == [{"type": "other", "value": "arXiv:2403.12076"}]
    assert titles["Neuron-Centric Hebbian Learning for Convolutional Networks"]["type"] == "thesis"


def test_every_reference_has_the_form_of_the_schema(citation: dict[str, Any]) -> None:
    for reference in citation["references"]:
        assert REFERENCE <= set(reference) <= KEYS, reference["title"]
        assert reference["type"] in TYPES
        for author in reference["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"}), reference["title"]
        for identifier in reference.get("identifiers", []):
            assert set(identifier) == {"type", "value"}
            assert identifier["type"] in {"doi", "url", "swh", "other"}
