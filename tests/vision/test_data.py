from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("datasets")

from PIL import Image

from nchl.errors import InvalidArgument
from nchl.vision.data import hold_out, load_images
from reference.images import STRINGS, cifar_like, png, striped, write_parquet

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"


def picture(label: int = 0, size: int = 16) -> bytes:
    return png(striped(label, np.random.default_rng(label), size))


def folder_of(tmp_path: Path, cells: list[bytes | None], labels: list, **more) -> str:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}.parquet", cells, labels, **more)
    return str(tmp_path)


def test_columns_of_cifar10(tmp_path: Path) -> None:
    data = load_images(str(cifar_like(tmp_path / "c10")))
    assert data.train.pixels.shape == (120, 3, 16, 16)
    assert data.train.pixels.dtype == torch.uint8
    assert data.classes == ["class 0", "class 1", "class 2", "class 3"]
    assert data.train.labels[:5].tolist() == [0, 1, 2, 3, 0]
    expected = np.asarray(striped(0, np.random.default_rng(0)))
    np.testing.assert_array_equal(data.train.pixels[0].permute(1, 2, 0), expected)
    batch = data.train.batch(slice(0, 4))
    torch.testing.assert_close(batch, data.train.pixels[:4].float() / 255)


def test_columns_of_cifar100_take_the_fine_label(tmp_path: Path) -> None:
    data = load_images(str(cifar_like(tmp_path / "c100", train=200, test=100, classes=100, hundred=True)))
    assert len(data.classes) == 100
    assert data.train.labels.unique().numel() == 100


def test_a_folder_per_class_with_and_without_a_test_set(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("zebra", "cat"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(3):
                (tmp_path / split / name / f"{index}.png").write_bytes(picture(index))
    data = load_images(str(tmp_path))
    assert data.classes == ["cat", "zebra"]
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(InvalidArgument, match="--test-fraction"):
        load_images(str(tmp_path / "train"))
    split = load_images(str(tmp_path / "train"), test_fraction=0.34)
    assert (len(split.train), len(split.test)) == (4, 2)
    with pytest.raises(InvalidArgument, match="test set of its own"):
        load_images(str(tmp_path), test_fraction=0.2)


def test_labels_that_are_strings(tmp_path: Path) -> None:
    data = load_images(folder_of(tmp_path, [picture(index) for index in range(4)], ["dog", "ant", "dog", "ant"], features=STRINGS))
    assert data.classes == ["ant", "dog"]
    assert data.train.labels.tolist() == [1, 0, 1, 0]
    write_parquet(tmp_path / "test.parquet", [picture()], ["eel"], features=STRINGS)
    with pytest.raises(InvalidArgument, match="'eel' in the test set"):
        load_images(str(tmp_path))


@pytest.mark.parametrize(("mode", "word"), [("L", "grey"), ("RGBA", "transparent")])
def test_images_that_are_not_rgb(tmp_path: Path, mode: str, word: str) -> None:
    odd = png(Image.new(mode, (16, 16)))
    data = folder_of(tmp_path, [picture(0), picture(1), odd], [0, 1, 1])
    with pytest.raises(InvalidArgument, match=rf"train row 2.*{mode} \({word}.*--convert"):
        load_images(data)
    assert load_images(data, convert=True).train.pixels.shape == (3, 3, 16, 16)


def test_images_of_sixteen_bits_are_never_clipped(tmp_path: Path) -> None:
    deep = png(Image.fromarray(np.full((16, 16), 40_000, np.uint16)))
    data = folder_of(tmp_path, [picture(0), picture(1), deep], [0, 1, 1])
    for convert in (False, True):
        with pytest.raises(InvalidArgument, match=r"train row 2.*mode I.*make them 8-bit RGB first"):
            load_images(data, convert=convert)


def test_corrupt_images_are_named_and_skipped_only_when_asked(tmp_path: Path) -> None:
    broken = picture(0)[:60]
    data = folder_of(tmp_path, [picture(0), broken, picture(1), b"not an image", None], [0, 0, 1, 1, 1])
    with pytest.raises(InvalidArgument, match=r"6 images are corrupt.*train row 1 .*train row 3 .*train row 4 .*--skip-corrupt"):
        load_images(data)
    kept = load_images(data, skip_corrupt=True)
    assert kept.train.labels.tolist() == [0, 1]
    assert "left out because 6 images are corrupt" in kept.notes[0]


def test_different_sizes(tmp_path: Path) -> None:
    data = folder_of(tmp_path, [picture(0), picture(1, size=12)], [0, 1])
    with pytest.raises(InvalidArgument, match=r"train row 1: expected 16x16 .* got 12x12"):
        load_images(data)


def test_missing_columns_and_one_class_only_and_missing_labels(tmp_path: Path) -> None:
    data = folder_of(tmp_path, [picture(0), picture(1)], [0, 1], image="photo")
    with pytest.raises(InvalidArgument, match="images in a column img or image, got the columns photo, label"):
        load_images(data)
    data = folder_of(tmp_path, [picture(0), picture(1)], [0, 1], label="kind")
    with pytest.raises(InvalidArgument, match="labels in a column label or fine_label"):
        load_images(data)
    data = folder_of(tmp_path, [picture(0), picture(1)], [1, 1])
    with pytest.raises(InvalidArgument, match=r"at least two classes.*'1'"):
        load_images(data)
    data = folder_of(tmp_path, [picture(0), picture(1)], [0, None])
    with pytest.raises(InvalidArgument, match="train row 1: expected a label"):
        load_images(data)
    data = folder_of(tmp_path, [picture(0), picture(1)], [0, -1])
    with pytest.raises(InvalidArgument, match="label -1"):
        load_images(data)


def test_places_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no folder"):
        load_images(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidArgument, match="one folder of images per class"):
        load_images(str(tmp_path))
    write_parquet(tmp_path / "data.parquet", [picture()], [0])
    with pytest.raises(InvalidArgument, match="`train`, `test` or `validation`"):
        load_images(str(tmp_path))
    (tmp_path / "data.parquet").write_bytes(b"PAR1 but no more")
    (tmp_path / "data.parquet").rename(tmp_path / "train.parquet")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_images(str(tmp_path))


def test_limit_and_hold_out_are_functions_of_the_seed(tmp_path: Path) -> None:
    data = str(cifar_like(tmp_path / "c10"))
    one, again, other = (load_images(data, limit=50, seed=seed).train for seed in (1, 1, 2))
    assert torch.equal(one.pixels, again.pixels)
    assert not torch.equal(one.pixels, other.pixels)
    rest, part = hold_out(one, 0.2, seed=0)
    assert (len(rest), len(part)) == (40, 10)
    with pytest.raises(InvalidArgument, match="on both sides"):
        hold_out(one, 0.001, seed=0)


@pytest.mark.slow
def test_the_real_images() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"CIFAR-10 is not at {SHARED}")
    data = load_images(str(SHARED))
    assert (len(data.train), len(data.test), data.image_shape) == (50_000, 10_000, (3, 32, 32))
    assert data.test.labels.bincount().tolist() == [1000] * 10


@pytest.mark.parametrize(("other", "wanted"), [("test", 4), ("val", 4), (None, 2)])
def test_folders_below_train_and_another(tmp_path: Path, other: str | None, wanted: int) -> None:
    for split in filter(None, ("train", other)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2 if split != "train" else 5):
                striped(number, np.random.default_rng(number)).save(tmp_path / split / name / f"{number}.png")
    data = load_images(str(tmp_path), test_fraction=0.2 if other is None else None)
    assert data.classes == ["cat", "dog"]
    assert len(data.test) == wanted
    assert len(data.notes) == (other != "test")
