"""Images in folders: one for each class, in `train` and in `test`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from mnist_lightning.data.datasets import read_offline_digits
from mnist_lightning.data.image_files import find_classes, images_below, read_image_folder
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from support.runs import Fit, read_report

NAMES = ("eight", "zero", "ünö")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """120 training and 30 test images of three digits."""
    for part, data in zip(("train", "test"), read_offline_digits(), strict=True):
        for name, label in zip(NAMES, (8, 0, 1), strict=True):
            (tmp_path / "my$digits" / part / name).mkdir(parents=True)
            for number, image in enumerate(data.images[data.labels == label][: 40 if part == "train" else 10]):
                Image.fromarray(image[0].numpy()).save(tmp_path / "my$digits" / part / name / f"{number:02}.png")
    return tmp_path / "my$digits"


def test_stored_images_are_read_unchanged(images: Path) -> None:
    (images / "train" / ".cache").mkdir()
    (images / "train" / "zero" / "notes.txt").write_text("not an image")
    (images / "train" / "zero" / "._00.png").write_text("not an image either: macOS writes such files")
    train, test = read_image_folder(str(images))
    assert test is not None
    assert find_classes(str(images)) == NAMES
    assert train.labels.bincount().tolist() == [40] * 3
    assert test.labels.bincount().tolist() == [10] * 3
    digits = read_offline_digits()[0]
    assert torch.equal(train.images[:40], digits.images[digits.labels == 8][:40])


def test_other_images_become_grey_and_fit_into_the_square(images: Path) -> None:
    colours = np.zeros((100, 50, 3), dtype=np.uint8)
    colours[..., 1] = 200  # green
    Image.fromarray(colours).save(images / "test" / "eight" / "tall.jpg", quality=95)
    _, test = read_image_folder(str(images))
    assert test is not None
    image = test.images[10, 0]
    assert int((image > 0).any(dim=0).sum()) == 14  # 50 of 100 pixels
    assert int((image > 0).any(dim=1).sum()) == 28
    assert (image[:, :7] == 0).all()  # black on both sides
    assert (image[:, 21:] == 0).all()
    assert abs(int(image[14, 14]) - 200 * 0.587) < 3  # the weight of green in grey


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no train": (
        lambda images: (images / "train").rename(images / "elsewhere"),
        "needs a folder for each of at",
    ),
    "capitals": (lambda images: (images / "train").rename(images / "Train"), "Train: call the folders `train` and"),
    "a class of test alone": (lambda images: (images / "test" / "new").mkdir(), "test/new has no class of this name"),
    "not an image": (
        lambda images: (images / "test" / "zero" / "03.png").write_bytes(b"PNG"),
        "test/zero/03.png not an image in a supported format: BMP, GIF",
    ),
    "16 bits": (
        lambda images: Image.fromarray(np.zeros((28, 28), dtype=np.uint16)).save(images / "test" / "zero" / "03.png"),
        "test/zero/03.png cannot be read .it has more than 8 bits",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str, images: Path) -> None:
    change, message = MISTAKES[name]
    change(images)
    with pytest.raises(UserError, match=message):
        read_image_folder(str(images))


def test_linked_folders_are_read(images: Path, tmp_path: Path) -> None:
    """As torchvision reads them; but a link to a folder around it has no end, and adds nothing."""
    (images / "train" / "eight").rename(tmp_path / "elsewhere")
    (images / "train" / "eight").mkdir()
    (images / "train" / "eight" / "linked").symlink_to(tmp_path / "elsewhere")
    theirs = ImageFolder(images / "train")
    assert len(theirs) == 120
    assert read_image_folder(str(images))[0].labels.tolist() == theirs.targets
    assert images_below(images / "train") == [Path(path) for path, _ in theirs.samples]
    (images / "train" / "zero" / "around").symlink_to(images)
    assert len(images_below(images)) == 150


def test_a_folder_from_training_to_prediction(images: Path, fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    run = fit("--data.dataset", "folder", "--data.data_dir", str(images), "--data.batch_size", "30")
    assert read_report(run)["dataset"] == "my$digits (image folder)"  # without a sign of formulas
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    settings = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    pixels = read_image_folder(str(images))[0].images.numpy() / 255
    assert settings["class_names"] == NAMES
    assert (settings["pixel_mean"], settings["pixel_std"]) == pytest.approx((pixels.mean(), pixels.std()))
    capfd.readouterr()
    main(["predict", "--ckpt_path", checkpoint, "--data.data_dir", str(images)])
    header, *rows = capfd.readouterr().out.splitlines()
    assert header == "file,class,probability"
    assert len(rows) == 30
    assert {row.split(",")[1] for row in rows} <= set(NAMES)
    with pytest.raises(SystemExit, match="2"):
        main(["test", "--ckpt_path", checkpoint, "--data.dataset", "offline_digits"])
    assert "the network has the classes eight, zero, ünö" in capfd.readouterr().err
