"""`nchl` itself: help, version, start-up time, and errors for unknown words."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import nchl
from nchl import cli
from nchl.cli import VERBS, main
from nchl.cli.parser import Parser
from nchl.cli.verbs.bench import BENCHES
from nchl.errors import RunError


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb}" in shown for verb in VERBS)
    assert main([]) == 0
    assert capsys.readouterr().out == shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nchl {nchl.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: nchl {verb}" in shown
    assert "--json" in shown
    assert "%%" not in shown


@pytest.mark.parametrize("bench", BENCHES)
def test_every_bench_explains_itself(bench: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", bench, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: nchl bench {bench}" in shown
    assert "%%" not in shown


def test_an_option_is_not_answered_with_an_unrelated_one(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("--env-kwargs", "--observation", "--x", "--no"):
        assert main(["evolve", "CartPole-v1", word, "1"]) == 2
        assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evolv"], "did you mean 'evolve'"),
        (["evolve", "CartPole-v1", "--popultion", "100"], "did you mean '--population'"),
        (["evolve", "CartPole-v1", "--pop", "100"], "did you mean '--population'"),
        (["evolve", "CartPole-v1", "--env-kwargs", "{}"], "are known (see: nchl evolve --help)"),
        (["evolve", "CartPole-v1", "--population", "many"], "expected a whole number, got 'many'"),
        (["evolve", "CartPole-v1", "--sigma", "much"], "expected a number, got 'much'"),
        (["evolve", "--hidden", "10", "CartPole-v1"], "a task or folder goes before this option"),
        (["evolve", "CartPole-v1", "--hidden", "10,20"], "expected whole numbers, got '10,20'; write 10 20"),
        (["evolve", "CartPole-v1", "--hidden", "a,b"], "a task or folder goes before this option"),
        (["evolve", "CartPole-v1", "Ant-v5"], "unexpected 'Ant-v5'"),
        (["bench", "stepp"], "did you mean 'step'"),
        (["bench", "softhebb", "--sharing", "foo"], "unknown sharing 'foo'"),
        (["bench", "softhebb", "--seconds", "nan"], "expected a number of at least 0, got 'nan'"),
        (["bench", "rollout", "CartPole-v1", "--seed", "-1"], "expected a whole number of at least 0, got '-1'"),
        (["bench", "rollout", "CartPole-v1", "--simulator", "envpol"], "did you mean 'envpool'"),
        (["bench", "conv", "--image", "-3"], "expected a whole number of at least 1, got '-3'"),
        (["bench", "conv", "--backend", "fast"], "known are auto, eager, compiled"),
        (["bench", "step", "--nodes", "3", "0"], "expected a whole number of at least 1, got '0'"),
        (["film", "run", "--fps", "500"], "expected a number from 0.1 to 60, got '500'"),
        (["evaluate", "run", "--seed", "-1"], "expected a whole number of at least 0, got '-1'"),
        (["evolve", "CartPole-v1", "--sigma", "-1e-3"], "sigma must be greater than 0, got -0.001"),
        (["evolve", "CartPole-v1", "--target", "-inf"], "target must be a finite number, got -inf"),
        (["evolve", "CartPole-v1", "-1e-3"], "unexpected '-1e-3'"),
        (["film", "run", "--seconds", "-1.5E+2"], "expected a number of at least 0.1, got '-1.5E+2'"),
        (["bench", "softhebb", "--seconds", "-.5e1"], "expected a number of at least 0, got '-.5e1'"),
        (["presets", "cartpol"], "did you mean 'cartpole'"),
        (["describe", "ncl", "4", "2"], "did you mean 'nchl'"),
        (["describe", "nchl", "4", "0", "2"], "got 4 0 2"),
        (["describe", "nchl", "4"], "expected two layers or more"),
        (["describe", "nchl", "4", "2", "--window", "3"], "window does not apply"),
        (["describe", "mine.py:network"], "--input-shape CHANNELS HEIGHT WIDTH --outputs N"),
        (["describe", "mine.py:network", "3", "64", "64"], "got 3 64 64"),
        (["describe", "mine.py:network", "--outputs", "3"], "belong together"),
        (["describe", "mine.py:network", "4", "2", "--input-shape", "4", "--outputs", "2"], "leave out 4 2"),
        (["describe", "nchl", "--input-shape", "4", "--outputs", "2"], "write nchl 28 128 64 8"),
        (["describe", "cartpole", "--rule", "hl"], "leave out sizes and options"),
        (["tasks", "CartPoole-v1"], "did you mean 'CartPole-v1'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("nchl: ")
    assert said in shown.err
    assert len(shown.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("verb", "words", "name"),
    [
        ("evolve", ["CartPole-v1", "--target"], "target"),
        ("compare", ["runs", "--target"], "target"),
        ("resume", ["run", "--max-minutes"], "max_minutes"),
        ("bench.search", ["--budget", "10", "--targets"], "targets"),
    ],
)
@pytest.mark.parametrize("number", ["-1e-3", "-1.5E+2", "-2.e3", "-.5e1", "-0.25", "-3"])
def test_numbers_may_be_negative_with_an_exponent(verb: str, words: list[str], name: str, number: str) -> None:
    parser = Parser(f"nchl {verb}", "")
    importlib.import_module(f"nchl.cli.verbs.{verb}").add_arguments(parser)
    found = getattr(parser.parse_words([*words, number]), name)
    assert found == ([float(number)] if name == "targets" else float(number))


@pytest.mark.parametrize("words", [["resume"], ["compare"], ["describe"], ["softhebb"], ["softhebb", "--resume"], ["sweep"]])
def test_a_name_that_no_file_can_have_is_a_mistake_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "a" * 300]) == 2
    assert "File name too long" in capsys.readouterr().err


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = "import sys; from nchl.cli import main; main(['--help']); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "numpy", "rich", "gymnasium", "envpool", "cma"):
        assert f"'{heavy}'" not in modules, f"nchl --help imports {heavy}"
    # The promise is 0.5 s of wall time on an idle machine; the time that this process itself used does not depend on others.
    before = os.times()
    subprocess.run([sys.executable, "-m", "nchl", "--help"], capture_output=True, check=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "bench"])
def test_help_of_a_verb_imports_no_torch(verb: str) -> None:
    code = f"import sys; from nchl.cli import main; main(['{verb}', '--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("words", [["tasks"], ["zoo"], ["presets"]], ids=" ".join)
def test_lists_import_no_torch(words: list[str]) -> None:
    code = f"import sys; from nchl.cli import main; sys.exit(main({words}) or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "30000"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")],
)
def test_idle_threads_wait_shortly_unless_the_user_decides(
    environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that monkeypatch puts back what was there
    monkeypatch.delenv("GOMP_SPINCOUNT")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cli.set_waiting_policy()
    assert os.environ.get("GOMP_SPINCOUNT") == expected


def test_results_are_json_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    module = SimpleNamespace(add_arguments=lambda parser: None, run=lambda args: {"a": 1}, text=lambda result: "one")
    assert cli.run_verb(module, "nchl example", "", ["--json"]) == 0  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    assert cli.run_verb(module, "nchl example", "", []) == 0  # type: ignore[arg-type]
    assert capsys.readouterr().out == "one\n"


def test_what_a_users_code_prints_is_no_part_of_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n\n\nclass Loud(CartPoleEnv):\n"
    body += "    def step(self, action):\n        print('hello')\n        return super().step(action)\n\n\n"
    body += "gymnasium.register('Loud-v0', entry_point=Loud, max_episode_steps=5)\n"
    (tmp_path / "loud_pole.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["evolve", "loud_pole:Loud-v0", "--hidden", "3", "--population", "4", "--generations", "1", "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["generations"] == 1
    assert "hello" in told.err


def test_json_has_no_words_for_nan(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"a": float("nan"), "b": [1.5, float("inf")], "c": (1, None)}
    module = SimpleNamespace(add_arguments=lambda parser: None, run=lambda args: result, text=lambda result: "")
    assert cli.run_verb(module, "nchl example", "", ["--json"]) == 0  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": [1, None]}


def test_a_defect_of_ours_keeps_its_traceback_and_a_mistake_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: Exception) -> None:
        def run(args: object) -> None:
            raise error

        monkeypatch.setattr("nchl.cli.verbs.presets.run", run)

    fails(RunError("expected this, got that"))
    assert main(["presets"]) == 2
    fails(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80000019200 bytes."))
    assert main(["presets"]) == 2
    fails(MemoryError())
    assert main(["presets"]) == 2
    fails(KeyError("ours"))
    with pytest.raises(KeyError):
        main(["presets"])


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m nchl presets | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
