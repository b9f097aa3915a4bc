from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from nchl.cli import main
from reference.images import cifar_like

NETWORK = """
from torch import nn
from nchl.vision import SoftHebbConv2d, Triangle

def tiny(image_shape):
    return nn.Sequential(nn.BatchNorm2d(3, affine=False), SoftHebbConv2d(3, 8, 5), Triangle(), nn.MaxPool2d(4))
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "tiny_network.py").write_text(NETWORK)
    data = cifar_like(tmp_path / "images")
    return [
        "softhebb",
        str(data),
        "--network",
        f"{tmp_path / 'tiny_network.py'}:tiny",
        "--epochs-head",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]


def test_one_object_on_stdout_and_the_rest_on_stderr(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert 0 <= result["test_accuracy"] <= 1
    assert Path(result["run"], "summary.json").exists()
    assert "features of the training images: 120 x 72 in half precision, 0.0 MiB" in err


def test_the_epoch_that_validation_chose_is_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--validation", "0.2"]) == 0
    out = capsys.readouterr().out
    summary = json.loads(Path(words[-1], "summary.json").read_text())
    assert f"head of epoch {summary['head_epoch']}, which has the best validation accuracy, {summary['validation_accuracy']:.2%}" in out


def test_the_keys_are_on_the_page_of_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[3] / "docs" / "json.md"
    section = next(part for part in re.split(r"^## ", page.read_text(), flags=re.M) if part.startswith("softhebb\n"))
    named = {key for line in section.splitlines() if line.startswith("| `") for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert main([*words, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == named


def test_mistakes_end_with_a_line_and_code_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--random", "--sharing", "max"], "--sharing does not apply with the method random"),
        (["--sharing", "maximum"], "unknown sharing 'maximum'"),
        (["--epoch-head", "3"], "did you mean '--epochs-head'"),
        (["--backprop", "--layerwise"], "--layerwise does not apply with the method backprop"),
        (["--resume", "somewhere", "--random", "--no-convert"], "leave DATA, --random, --network, --epochs-head, --no-convert, --out out"),
        (["--allow-other-machine"], "only applies to --resume"),
    ):
        capsys.readouterr()
        assert main([*words, *more]) == 2
        out, err = capsys.readouterr()
        assert message in err
        assert not out
    assert main(["softhebb"]) == 2
    assert main(["softhebb", "--resume", "nowhere"]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nchl.vision import experiment

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "predict", interrupt)
        assert main(words) == 130
    err = capsys.readouterr().err
    run = words[-1]
    assert f"nchl softhebb --resume {run}" in err
    assert main(["resume", run]) == 2
    assert "nchl softhebb --resume" in capsys.readouterr().err
    assert main(["softhebb", "--resume", run]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_device_and_features_go_with_resume(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from nchl.vision import experiment

    given: dict[str, object] = {}
    monkeypatch.setattr(experiment, "resume", lambda *_, **more: given.update(more) or {"test_accuracy": 1.0})
    assert main(["softhebb", "--resume", "run", "--device", "cpu", "--features", "disk", "--allow-other-machine", "--json"]) == 0
    assert given == {"allow_other_machine": True, "device": "cpu", "features": "disk"}
    capsys.readouterr()
    assert main(["softhebb", "--resume", "run", "--device", "cpu", "--threads", "1"]) == 2
    assert "takes all settings but --device and --features from the run's config.json; leave --threads out" in capsys.readouterr().err
