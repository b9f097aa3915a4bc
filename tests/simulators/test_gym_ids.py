"""Ids of Gymnasium environments: what they make, and what an error says to write in place of a wrong one."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from nchl import tasks
from nchl.errors import MissingExtra, TaskError, UnknownName
from nchl.simulators.gym_ids import import_module_of, plain

gymnasium = pytest.importorskip("gymnasium")

ARMS = """
    import gymnasium

    class Arm(gymnasium.Env):
        observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def __init__(self, joints=2):
            self.joints = joints

    def needy():
        raise gymnasium.error.DependencyNotInstalled("no module arm_driver")

    class Wired(Arm):
        def __init__(self, port, *, host):
            pass

    def broken():
        raise SyntaxError("of the driver")

    for version in (0, 3, 10):
        gymnasium.register(f"Arm-v{version}", entry_point=Arm)
    gymnasium.register("ArmOfTexts-v0", entry_point=f"{__name__}:Arm", kwargs={"joints": 5})
    gymnasium.register("Needy-v0", entry_point=needy)
    gymnasium.register("Broken-v0", entry_point=broken)
    gymnasium.register("Wired-v0", entry_point=Wired)
"""


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of modules; what they register is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before, modules = set(gymnasium.registry), set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            sys.modules.pop(name)
    for id in set(gymnasium.registry) - before:
        gymnasium.registry.pop(id)


@pytest.fixture
def arms(register: Path) -> str:
    """A module that registers them; its name."""
    name = f"arms_{os.getpid()}"
    (register / f"{name}.py").write_text(textwrap.dedent(ARMS))
    return name


def test_an_environment_is_made_of_an_id_of_gymnasium_or_of_a_module(arms: str) -> None:
    made = plain("CartPole-v1", max_episode_steps=7)
    assert (made.spec.id, made.spec.max_episode_steps) == ("CartPole-v1", 7)
    made.close()
    assert plain(f"{arms}:Arm-v10").unwrapped.joints == 2
    assert plain(f"{arms}:Arm-v10", joints=4).unwrapped.joints == 4
    assert plain(f"{arms}:ArmOfTexts-v0").unwrapped.joints == 5
    assert plain("Arm-v10").spec.id == "Arm-v10"  # registered by now


def test_a_module_is_imported_once(register: Path) -> None:
    (register / "arms_counted.py").write_text("import builtins\nbuiltins.arms_counted = getattr(builtins, 'arms_counted', 0) + 1\n")
    import_module_of("CartPole-v1")  # has none
    for _ in range(2):
        import_module_of("arms_counted:Arm-v0")
    import builtins

    assert builtins.__dict__.pop("arms_counted") == 1


@pytest.mark.parametrize("name", ["arms_nowhere", "arms_nowhere.walk"])
def test_a_module_that_is_not_found_is_told_where_it_is_looked_for(name: str) -> None:
    with pytest.raises(TaskError, match=rf"No module named 'arms_nowhere'; it must be importable.*`PYTHONPATH=\. nchl.*{name}:Arm-v0"):
        plain(f"{name}:Arm-v0")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import legs_nowhere", r"ModuleNotFoundError: No module named 'legs_nowhere'$"),  # nothing is wrong with the path
        ("raise SystemExit('no licence')", r"SystemExit: no licence$"),
        ("def f(:", r"SyntaxError: .*\(arms_wrong\.py, line 1\)$"),
    ],
)
def test_a_module_that_fails_is_told_with_its_error(register: Path, text: str, told: str) -> None:
    (register / "arms_wrong.py").write_text(text + "\n")
    with pytest.raises(TaskError, match=rf"the module of 'arms_wrong:Arm-v0' could not be imported: {told}"):
        plain("arms_wrong:Arm-v0")


@pytest.mark.parametrize("folder", ["", "/somewhere/"])
@pytest.mark.parametrize(("id", "named", "entry"), [("Arm", "ID-v0", "Arm"), ("", "ID-v0", "CLASS"), ("Arm-v2", "Arm-v2", "CLASS")])
def test_a_file_in_place_of_a_module_is_told_the_form(folder: str, id: str, named: str, entry: str) -> None:
    told = rf'register it in arm\.py \(gymnasium.register\("{named}", entry_point={entry}\).*`PYTHONPATH=\. nchl evolve arm:{named}`$'
    with pytest.raises(TaskError, match=told):
        plain(f"{folder}arm.py:{id}")
    with pytest.raises(TaskError, match=told):
        tasks.make(f"{folder}arm.py:{id}")


def test_an_id_without_a_version_is_told_the_newest(arms: str) -> None:
    with pytest.raises(TaskError, match=rf"'{arms}:Arm' has no version: {arms} registers Arm-v10; write {arms}:Arm-v10$"):
        plain(f"{arms}:Arm")
    with pytest.raises(TaskError, match=r"'CartPole' has no version: Gymnasium has CartPole-v1; write CartPole-v1$"):
        plain("CartPole")


def test_an_id_that_a_module_does_not_register_is_told_the_ones_that_it_does(arms: str, register: Path) -> None:
    with pytest.raises(
        TaskError, match=rf"unknown task '{arms}:Leg-v0': {arms} registers Arm-v0, .*, Wired-v0; write for example {arms}:Arm-v0$"
    ):
        plain(f"{arms}:Leg-v0")
    with pytest.raises(TaskError, match=rf"unknown task '{arms}:Neddy-v0': .*; write {arms}:Needy-v0$"):
        plain(f"{arms}:Neddy-v0")
    (register / "arms_one.py").write_text("import gymnasium\ngymnasium.register('One-v0', entry_point='arms_one:make')\n")
    with pytest.raises(TaskError, match=r"arms_one registers One-v0; write arms_one:One-v0$"):
        plain("arms_one:Unlike-v0")  # the only one
    many = "import gymnasium\nfor k in range(11):\n    gymnasium.register(f'Many{k}-v0', entry_point='arms_many:make')\n"
    (register / "arms_many.py").write_text(many)
    with pytest.raises(TaskError, match=r"arms_many registers Many0-v0, .*, Many7-v0 and 3 more; write for example arms_many:Many0-v0$"):
        plain("arms_many:Unlike-v0")


def test_an_unknown_id_without_a_module_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'CartPole-v1'\?"):
        plain("CartPole-v11")


def test_what_an_environment_lacks_or_raises_when_it_is_made_is_told(arms: str) -> None:
    with pytest.raises(MissingExtra, match=r"Needy-v0 needs a package that is not installed \(no module arm_driver\).*\[sim\]"):
        plain(f"{arms}:Needy-v0")
    with pytest.raises(TaskError, match=rf"Gymnasium cannot make '{arms}:Broken-v0': SyntaxError: of the driver$"):
        plain(f"{arms}:Broken-v0")
    for options, key in (({}, "port"), ({"port": 1}, "host")):
        told = rf"missing 1 .*; give it with `--env {key}=VALUE`, or in gymnasium.register\(\.\.\., kwargs=\{{'{key}': VALUE\}}\)$"
        with pytest.raises(TaskError, match=told):
            plain(f"{arms}:Wired-v0", **options)
    with pytest.raises(TaskError, match=r"TypeError: .*legs"):
        plain(f"{arms}:Arm-v10", legs=3)
