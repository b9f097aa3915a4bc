"""A user's file with the modules beside it: which belong to it, and that they are run from exactly the given texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nchl.errors import InvalidArgument
from nchl.user_code import gather, is_place, load_object, using

FILES = {
    "mine.py": "import helper\nfrom parts import one\nfrom parts.two import DEEP\nimport json, numpy\n\n"
    "def f():\n    import late\n    return helper.VALUE, one.VALUE, DEEP, late.VALUE\n",
    "helper.py": "import other\nVALUE = other.VALUE + 1\n",
    "other.py": "VALUE = 1\n",
    "late.py": "import mine\nVALUE = mine.f.__name__\n",
    "parts/__init__.py": "",
    "parts/one.py": "from . import three\nVALUE = three.VALUE\n",
    "parts/two.py": "from parts.three import VALUE as DEEP\n",
    "parts/three.py": "VALUE = 3\n",
    "unused.py": "raise ValueError\n",
    "json.py": "raise ValueError('Python has a module of this name')\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_modules_beside_a_file_belong_to_it(folder: Path) -> None:
    found = gather(folder / "mine.py")
    assert {str(Path(name).relative_to(folder)) for name in found} == set(FILES) - {"unused.py", "json.py"}
    assert found[str(folder / "other.py")] == b"VALUE = 1\n"
    assert load_object(f"{folder}/mine.py:f", "a rule")() == (2, 3, 3, "f")
    assert not {"helper", "other", "parts", "late", "mine"} & set(sys.modules)


def test_two_versions_of_a_neighbour_stand_side_by_side(folder: Path) -> None:
    old = load_object(f"{folder}/mine.py:f", "a rule")
    texts = gather(folder / "mine.py")
    assert load_object(f"{folder}/mine.py:f", "a rule") is old
    (folder / "other.py").write_text("VALUE = 10\n")
    (folder / "late.py").write_text("VALUE = 'later'\n")
    assert load_object(f"{folder}/mine.py:f", "a rule")() == (11, 3, 3, "later")
    assert old() == (2, 3, 3, "f")  # also what it imports only when it is called
    for name in FILES:
        (folder / name).unlink()
    with using(texts):
        assert load_object(f"{folder}/mine.py:f", "a rule") is old
    with pytest.raises(InvalidArgument, match="there is no file"):
        load_object(f"{folder}/mine.py:f", "a rule")


def test_a_neighbour_that_fails_is_told_of(folder: Path) -> None:
    (folder / "other.py").write_text("VALUE = unknown\n")
    with pytest.raises(InvalidArgument, match=r"a rule: '.*mine\.py' could not be run \(NameError: name 'unknown'"):
        load_object(f"{folder}/mine.py:f", "a rule")


def test_what_names_code() -> None:
    assert is_place("a/b c/mine.py:oja")
    assert not any(map(is_place, ("nchl", "module:Id", "mine.py", "mine.pyc:f", "evosax:NAME", None, 3)))
