from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("datasets")

import pyarrow as arrow
import pyarrow.parquet as parquet
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageColumn
from PIL import Image

from nchl.errors import InvalidArgument
from nchl.vision.data import images as data_module
from nchl.vision.data.folders import SUFFIXES
from nchl.vision.data.images import Images, hold_out, load_images
from reference.images import STRINGS, cifar_like, png, striped, write_parquet


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


def named(*names: str) -> Features:
    return Features({"img": ImageColumn(), "label": ClassLabel(names=list(names))})


def classes_below(root: Path, names: tuple[str, ...] = ("cat", "dog"), images: int = 3, suffix: str = ".png") -> Path:
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(images):
            (root / name / f"{number}{suffix}").write_bytes(picture(label))
    return root


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [([5, 200_000, 5], ["5", "200000"], [0, 1, 0]), ([2, 1, 2], ["1", "2"], [1, 0, 1]), ([0, 2, 1], ["0", "1", "2"], [0, 2, 1])],
)
def test_numbers_that_occur_are_the_classes(tmp_path: Path, labels: list[int], classes: list[str], numbers: list[int]) -> None:
    folder = folder_of(tmp_path, [picture(0), picture(1), picture(2)], labels)
    data = load_images(folder)
    assert data.classes == classes
    assert data.train.labels.tolist() == data.test.labels.tolist() == numbers
    assert [note for note in data.notes if "those that occur, " + ", ".join(classes) in note] == data.notes
    assert bool(data.notes) == (classes[0] != "0")
    write_parquet(tmp_path / "test.parquet", [picture()], [3])
    with pytest.raises(InvalidArgument, match="label 3 in the test set is none of"):
        load_images(folder)


def test_named_classes_without_a_training_image_are_kept_and_said(tmp_path: Path) -> None:
    data = load_images(folder_of(tmp_path, [picture(0), picture(2)], [0, 2], features=named("ant", "bee", "cow", "dog")))
    assert data.classes == ["ant", "bee", "cow", "dog"]
    assert data.train.labels.tolist() == [0, 2]
    assert data.notes == ["classes without a training image, kept all the same: bee, dog"]


@pytest.mark.parametrize(
    "names", [("Train", "TEST"), ("training", "testing"), ("train", "valid"), ("Train", "Val"), ("train", "validation")]
)
def test_names_of_splits_in_other_words(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, images in zip(names, (3, 2), strict=True):
        classes_below(tmp_path / name, images=images)
    data = load_images(str(tmp_path))
    assert (data.classes, len(data.train), len(data.test)) == (["cat", "dog"], 6, 4)
    assert data.notes == ([] if "test" in names[1].lower() else [f"the folder `{names[1]}` is the test set, because there is no other"])
    with pytest.raises(InvalidArgument, match="test set of its own"):
        load_images(str(tmp_path), test_fraction=0.2)


def test_names_of_splits_are_never_classes(tmp_path: Path) -> None:
    classes_below(tmp_path / "flat", ("Train", "Test"))
    classes_below(tmp_path / "part", ("cat", "dog", "test"))
    classes_below(tmp_path / "alone" / "test")
    for name, word in (("flat", "Test"), ("part", "test"), ("alone", "test")):
        with pytest.raises(InvalidArgument, match=rf"expected a folder `train` .*'{word}' names a split and is never a class"):
            load_images(str(tmp_path / name), test_fraction=0.2)
    for name in ("train", "test", "val", "more"):
        classes_below(tmp_path / "all" / name)
    assert load_images(str(tmp_path / "all")).notes == [
        "not read, because they are neither the training nor the test set: the folders more, val"
    ]
    classes_below(tmp_path / "all" / "Training")
    with pytest.raises(InvalidArgument, match="one folder for each set, got Training and train"):
        load_images(str(tmp_path / "all"))


def test_tables_in_other_words(tmp_path: Path) -> None:
    for name in ("Training-0", "training-1", "val"):
        write_parquet(tmp_path / f"{name}.parquet", [picture(0), picture(1)], [0, 1])
    data = load_images(str(tmp_path))
    assert (len(data.train), len(data.test)) == (4, 2)
    (tmp_path / "training").mkdir()
    write_parquet(tmp_path / "training" / "test.parquet", [picture(0)], [0])
    data = load_images(str(tmp_path))
    assert (len(data.train), len(data.test)) == (4, 1)
    write_parquet(tmp_path / "train-test.parquet", [picture(0)], [0])
    with pytest.raises(InvalidArgument, match="the name of one split, got test and train"):
        load_images(str(tmp_path))


def test_classes_of_tables_are_compared_by_name(tmp_path: Path) -> None:
    cells = [picture(0), picture(1), picture(2)]
    write_parquet(tmp_path / "train-0.parquet", cells, [0, 1, 2], features=named("a", "b", "c"))
    write_parquet(tmp_path / "train-1.parquet", cells, [0, 1, 2], features=named("c", "a", "b"))
    write_parquet(tmp_path / "test.parquet", cells, [0, 1, 1], features=named("b", "a"))
    data = load_images(str(tmp_path))
    assert data.classes == ["a", "b", "c"]
    assert data.train.labels.tolist() == [0, 1, 2, 2, 0, 1]
    assert data.test.labels.tolist() == [1, 0, 0]
    write_parquet(tmp_path / "test.parquet", cells, [0, 1, -1], features=named("b", "a"))
    with pytest.raises(InvalidArgument, match="test row 2: expected a label from 0 to 1, got -1"):
        load_images(str(tmp_path))
    write_parquet(tmp_path / "test.parquet", cells, [0, 1, 1], features=named("a", "eel"))
    with pytest.raises(InvalidArgument, match=r"test\.parquet: has the class 'eel', which is none of the training set's \(a, b, c\)"):
        load_images(str(tmp_path))
    write_parquet(tmp_path / "test.parquet", cells, [0, 1, 1])
    assert "equal numbers are taken for equal classes" in load_images(str(tmp_path)).notes[0]
    for shard in (0, 1):
        write_parquet(tmp_path / f"train-{shard}.parquet", cells, ["b", "c", "b"], features=STRINGS)
    write_parquet(tmp_path / "test.parquet", cells, [0, 1, 1], features=named("c", "b"))
    assert load_images(str(tmp_path)).test.labels.tolist() == [1, 0, 0]


def test_files_of_a_class_that_are_hidden_or_no_images_by_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        classes_below(tmp_path / split)
    plain = load_images(str(tmp_path))
    cat = tmp_path / "train" / "cat"
    (cat / ".ipynb_checkpoints").mkdir()
    (cat / ".ipynb_checkpoints" / "0.png").write_bytes(picture(0))
    (cat / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "train.parquet").write_bytes(b"no table")
    hidden = load_images(str(tmp_path))
    assert (hidden.digest, hidden.notes) == (plain.digest, [])
    (cat / "0.png").rename(cat / "0.jfif")
    assert load_images(str(tmp_path)).digest == plain.digest
    (cat / "1.png").rename(cat / "1")
    for other in (cat / "Thumbs.db", tmp_path / "README.md", tmp_path / "test" / "loose.png"):
        other.write_bytes(b"")
    data = load_images(str(tmp_path))
    assert len(data.train) == 5
    said = "4 files are not read, being no image by name or in no class's folder: "
    assert data.notes == [said + "README.md, train/cat/1, train/cat/Thumbs.db, test/loose.png"]


def test_every_usual_name_of_the_decoded_formats_is_known() -> None:
    Image.init()
    usual = {suffix for suffix, kind in Image.registered_extensions().items() if kind in data_module._FORMATS}
    assert usual <= SUFFIXES


def test_images_beside_a_table_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = classes_below(tmp_path / "data" / "images").parent
    cells = [{"bytes": None, "path": f"images/{name}/0.png"} for name in ("cat", "dog")]
    for split in ("train", "test"):
        parquet.write_table(arrow.table({"img": cells, "label": ["cat", "dog"]}), folder / f"{split}.parquet")
    for start, data in ((tmp_path, "data"), (folder, "."), (Path("/"), str(folder))):
        monkeypatch.chdir(start)
        assert load_images(data).train.labels.tolist() == [0, 1]
    (tmp_path / "0.png").write_bytes(picture())
    cells[0]["path"] = "../0.png"
    parquet.write_table(arrow.table({"img": cells, "label": ["cat", "dog"]}), folder / "train.parquet")
    with pytest.raises(InvalidArgument, match="outside of"):
        load_images(str(folder))


def test_shards_may_differ_in_what_is_not_needed(tmp_path: Path) -> None:
    for shard, path, label, more in ((0, None, arrow.int64(), {}), (1, "1.png", arrow.int32(), {"weight": [1.0, 2.0]})):
        cells = [{"bytes": picture(index), "path": path} for index in (0, 1)]
        table = arrow.table({"img": cells, "label": arrow.array([0, 1], label), **more})
        for split in ("train", "test"):
            parquet.write_table(table, tmp_path / f"{split}-{shard}.parquet")
    assert load_images(str(tmp_path)).train.labels.tolist() == [0, 1, 0, 1]
    write_parquet(tmp_path / "train-1.parquet", [picture()], ["a"])
    with pytest.raises(InvalidArgument, match=r"train-1\.parquet: expected labels that are numbers, as in .*train-0\.parquet, got string"):
        load_images(str(tmp_path))
    write_parquet(tmp_path / "train-1.parquet", [picture()], [0], label="kind")
    with pytest.raises(InvalidArgument, match=r"train-1\.parquet: lacks the column 'label'"):
        load_images(str(tmp_path))
    (tmp_path / "train-1.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InvalidArgument, match=r"train-1\.parquet: this parquet file cannot be read"):
        load_images(str(tmp_path))


def saved(count: int) -> Dataset:
    rows = {"img": [{"bytes": picture(index % 2), "path": None} for index in range(count)], "label": [index % 2 for index in range(count)]}
    return Dataset.from_dict(rows, features=named("cat", "dog"))


def test_what_save_to_disk_writes(tmp_path: Path) -> None:
    splits = DatasetDict({"train": saved(6), "test": saved(4).with_format("numpy")})
    splits.save_to_disk(tmp_path / "both")
    data = load_images(str(tmp_path / "both"))
    assert (data.classes, data.train.labels.tolist(), data.test.labels.tolist()) == (["cat", "dog"], [0, 1] * 3, [0, 1] * 2)
    (tmp_path / "both" / "dataset_dict.json").unlink()
    assert load_images(str(tmp_path / "both")).digest == data.digest
    splits["train"].save_to_disk(tmp_path / "one")
    with pytest.raises(InvalidArgument, match="--test-fraction"):
        load_images(str(tmp_path / "one"))
    alone = load_images(str(tmp_path / "one"), test_fraction=0.34)
    assert (len(alone.train), len(alone.test)) == (4, 2)


def test_what_save_to_disk_wrote_is_damaged_or_names_files_elsewhere(tmp_path: Path) -> None:
    DatasetDict({"train": saved(6), "test": saved(4)}).save_to_disk(tmp_path / "data")
    saved(4).save_to_disk(tmp_path / "private")
    (kept,) = (tmp_path / "data" / "test").glob("*.arrow")
    state = tmp_path / "data" / "test" / "state.json"
    written = state.read_text()
    for other in ("../../private/data-00000-of-00001.arrow", str(tmp_path / "private" / "data-00000-of-00001.arrow")):
        state.write_text(written.replace(kept.name, other))
        with pytest.raises(InvalidArgument, match="which lies outside of it"):
            load_images(str(tmp_path / "data"))
    state.write_text(written)
    kept.write_bytes(b"no arrow")
    with pytest.raises(InvalidArgument, match=r"data: expected what `save_to_disk` .* writes, but it cannot be read .*to_parquet"):
        load_images(str(tmp_path / "data"))
    (tmp_path / "data" / "dataset_dict.json").write_text('{"splits": ["train", "../private"]}')
    with pytest.raises(InvalidArgument, match="which lies outside of it"):
        load_images(str(tmp_path / "data"))


def test_a_draw_that_leaves_one_class_is_refused(tmp_path: Path) -> None:
    data = str(cifar_like(tmp_path / "c2", classes=2))
    assert load_images(data, limit=2, seed=0).train.labels.tolist() == [1, 0]
    with pytest.raises(InvalidArgument, match="the 2 images drawn with seed 2 are all of class 'class 1'; take a larger --limit"):
        load_images(data, limit=2, seed=2)
    with pytest.raises(InvalidArgument, match="a limit of at least 2"):
        load_images(data, limit=0)


def test_what_remains_beside_held_out_images_has_two_classes() -> None:
    images = Images(torch.zeros((4, 3, 2, 2), dtype=torch.uint8), torch.tensor([0, 0, 0, 1]))
    assert hold_out(images, 0.25, seed=0)[0].labels.tolist() == [0, 0, 1]
    with pytest.raises(InvalidArgument, match="the remaining 3 are of one class; take a smaller fraction"):
        hold_out(images, 0.25, seed=3)


@pytest.mark.slow
def test_the_real_images() -> None:
    folder = os.environ.get("NCHL_TEST_CIFAR10")
    if folder is None:
        pytest.skip("55 MB that no repository should hold: name a folder with CIFAR-10's parquet files in NCHL_TEST_CIFAR10")
    data = load_images(folder)
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
