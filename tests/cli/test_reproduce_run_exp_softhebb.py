"""The thesis's line for images is a line of `nchl softhebb`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

LINE = "--dataset CIFAR10 --epochs 51 --device cpu --aggregation_function max --bp_last_layer --softhebb --bp_lr 0.001 --softhebb_lr 0.01"


def test_the_line_as_written(script: ModuleType, called: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert script.run_exp(LINE.split()) == 0
    expected = (
        "softhebb cifar10 --network thesis --device cpu --seed 0 --lr-head 0.001 --batch-size-head 512 "
        "--sharing max --batch-size 512 --epochs-unsupervised 1 --epochs-head 50 --lr 0.01"
    )
    assert called == [expected.split()]
    assert expected in capsys.readouterr().err


def test_the_line_is_understood_by_nchl(script: ModuleType, called: list[list[str]]) -> None:
    from nchl.cli.parser import Parser, given
    from nchl.cli.verbs.softhebb import add_arguments
    from nchl.vision.settings import SoftHebbSettings, options

    script.run_exp([*LINE.split(), "--unsupervised_epochs", "3", "--data_dir", "some where", "--out", "here"])
    parser = Parser("nchl softhebb", "")
    add_arguments(parser)
    settings = SoftHebbSettings(**given(parser.parse_words(called[0][1:]), options()))
    assert (settings.data, settings.network, settings.sharing, settings.lr) == ("some where", "thesis", "max", 0.01)
    assert (settings.epochs_unsupervised, settings.epochs_head, settings.batch_size) == (3, 48, 512)


def test_layers_that_never_learn_are_told_nothing_of_learning(script: ModuleType, called: list[list[str]]) -> None:
    assert script.run_exp(["--dataset", "CIFAR10", "--softhebb", "--unsupervised_epochs", "0"]) == 0
    assert not {"--sharing", "--batch-size", "--lr"} & set(called[0])


def test_the_other_data_set_and_backpropagation(script: ModuleType, called: list[list[str]]) -> None:
    assert script.run_exp(["--dataset", "CIFAR100", "--epochs", "5", "--bp"]) == 0
    assert called[0][:2] == ["softhebb", "cifar100"]
    assert called[0][-3:] == ["--backprop", "--epochs-head", "5"]


def test_the_run_makes_its_folder_in_the_saving_path(script: ModuleType, called: list[list[str]], tmp_path: Path) -> None:
    for words, name in ((["--bp"], "cifar10-bp-"), (["--softhebb", "--aggregation_function", "min"], "cifar10-softhebb-min-")):
        assert script.run_exp(["--dataset", "CIFAR10", *words, "--saving_path", str(tmp_path)]) == 0
        assert called[-1][-2] == "--out"
        out = Path(called[-1][-1])
        assert out.parent == tmp_path
        assert out.name.startswith(name)
        assert not out.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--dataset CIFAR11 --bp", "did you mean 'CIFAR10'"),
        ("--epochs 3", "expected --dataset"),
        ("--dataset CIFAR10", "one of --softhebb"),
        ("--dataset CIFAR10 --bp --softhebb_lr 0.1", "--softhebb_lr does not apply with --bp"),
        ("--dataset CIFAR10 --softhebb --epochs 1", "from 0 to below --epochs"),
        ("--dataset CIFAR10 --softhebb --unsupervised_epochs 0 --softhebb_lr 0.1", "not apply with --unsupervised_epochs 0"),
        ("--dataset CIFAR10 --softhebb --batch_size 0", "--batch_size: expected a whole number of at least 1, got '0'"),
        ("--dataset CIFAR10 --bp --saving_path here --out there", "give one of the two"),
        ("--dataset CIFAR10 --softhebb --softheb_lr 1", "did you mean '--softhebb_lr'"),
    ],
)
def test_mistakes(script: ModuleType, called: list[list[str]], capsys: pytest.CaptureFixture[str], line: str, message: str) -> None:
    assert script.run_exp(line.split()) == 2
    assert message in capsys.readouterr().err
    assert not called
