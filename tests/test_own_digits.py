"""Digits in pictures of all kinds are found, converted to MNIST's format and recognised."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from benchmarks.own_digits.photographs import photograph
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.errors import UserError
from mnist_lightning.read.mnist_format import stroke_width
from mnist_lightning.read.reading import classify, prepare_digit

Mnist = tuple[LabelledImages, LabelledImages]


def seven(width: int = 400, height: int = 300, mode: str = "L") -> Image.Image:
    """A dark 7 on light paper, off-centre."""
    image = Image.new("L", (width, height), 230)
    line = [(0.3 * width, 0.2 * height), (0.5 * width, 0.2 * height), (0.35 * width, 0.85 * height)]
    ImageDraw.Draw(image).line(line, fill=30, width=max(2, height // 25), joint="curve")
    return image.convert(mode)


def difference(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of two prepared images, in grey levels."""
    return float((one.float() - other.float()).abs().mean())


# MNIST's format


def test_the_format_is_mnists() -> None:
    image = prepare_digit(seven())
    assert image.shape == (28, 28)
    assert image.dtype == torch.uint8
    rows, columns = torch.nonzero(image, as_tuple=True)
    assert max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1 == 20
    mass = image.double()
    places = torch.arange(28)
    for axis in (0, 1):
        assert abs(float((mass.sum(dim=1 - axis) * places).sum() / mass.sum()) - 14) <= 0.5
    assert image.max() == 255
    assert 0 < ((image > 0) & (image < 255)).double().mean() < 0.2  # grey edges


@pytest.mark.parametrize("height", [56, 100, 700, 3000])
def test_the_size_of_the_picture_does_not_matter(height: int) -> None:
    assert difference(prepare_digit(seven(height * 4 // 3, height)), prepare_digit(seven())) < 8


def test_thin_and_thick_lines_get_mnists_stroke_width() -> None:
    for pixels in (3, 10, 90):
        image = Image.new("L", (600, 600), 255)
        ImageDraw.Draw(image).ellipse((150, 100, 400, 500), outline=0, width=pixels)
        large = prepare_digit(image).numpy().repeat(8, axis=0).repeat(8, axis=1) > 127
        assert 1.8 <= stroke_width(large) / 8 <= 4.2


def test_an_mnist_image_hardly_changes(mnist: Mnist) -> None:
    images = mnist[1].images[:40, 0]
    prepared = torch.stack([prepare_digit(Image.fromarray(image.numpy())) for image in images])
    # Of 255; digits cover a fifth of the image, and two different digits differ by 40.
    assert float((images.float() - prepared.float()).abs().mean(dim=(1, 2)).median()) < 10
    again = torch.stack([prepare_digit(Image.fromarray(image.numpy())) for image in prepared])
    assert difference(again, prepared) < 6


# Kinds of pictures


@pytest.mark.parametrize("mode", ["P", "CMYK", "LA", "LAB", "I;16"])
def test_modes_of_pillow(mode: str) -> None:
    grey = seven()
    wide = Image.fromarray((np.asarray(grey, dtype=np.float32) * 200).astype(np.uint16))
    image = wide if mode == "I;16" else grey.convert(mode)
    assert difference(prepare_digit(image), prepare_digit(grey)) < 3


@pytest.mark.parametrize(
    ("ink", "paper"),
    [("white", "black"), ("yellow", "navy"), ("#505050", "#707070"), ("red", None)],
)
def test_any_ink_on_any_paper(ink: str, paper: str | None) -> None:
    """None is a transparent background."""
    mask = seven().point(lambda value: 255 if value < 128 else 0)
    image = Image.new("RGBA", mask.size, paper or (0, 0, 0, 0))
    image.paste(Image.new("RGBA", mask.size, ink), (0, 0), mask)
    assert difference(prepare_digit(image), prepare_digit(seven())) < 3


def test_light_from_one_side_and_a_shadow() -> None:
    y, x = np.mgrid[:300, :400]
    light = 0.4 + 0.6 * x / 400 - 0.2 * (x + y < 150)
    image = Image.fromarray((np.asarray(seven()) * light).astype(np.uint8))
    assert difference(prepare_digit(image), prepare_digit(seven())) < 6


def test_specks_and_ruled_lines_are_removed() -> None:
    image = seven()
    draw = ImageDraw.Draw(image)
    for y in range(20, 300, 50):
        draw.line((0, y, 400, y), fill=190)
    for x, y in ((30, 40), (350, 250), (300, 60)):
        draw.ellipse((x, y, x + 4, y + 4), fill=30)
    assert difference(prepare_digit(image), prepare_digit(seven())) < 6


def test_a_separate_stroke_belongs_to_the_digit() -> None:
    """The bar of a 5."""
    image = Image.new("L", (300, 300), 255)
    draw = ImageDraw.Draw(image)
    draw.arc((100, 130, 190, 240), -120, 160, fill=0, width=10)
    draw.line((115, 70, 112, 150), fill=0, width=10)
    whole = prepare_digit(image)
    draw.line((128, 60, 190, 60), fill=0, width=10)
    assert difference(prepare_digit(image), whole) > 5
    assert int(prepare_digit(image)[:, 14:].sum()) > int(whole[:, 14:].sum())


# Pictures without a digit


def noise(*shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def two_digits() -> Image.Image:
    image = Image.new("L", (800, 300), 230)
    image.paste(seven(), (0, 0))
    image.paste(seven(), (200, 0))
    return image


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (Image.new("RGB", (300, 200), "white"), "nothing"),
        (noise(28, 28), "more than one"),
        (Image.linear_gradient("L"), "nothing"),
        (two_digits(), "more than one"),
    ],
)
def test_pictures_without_a_digit(image: Image.Image, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        prepare_digit(image)


# Recognition


def upscaled(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.resize((280, 280), Image.Resampling.BICUBIC)


def inverted_and_padded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.invert(ImageOps.expand(upscaled(image, rng), (200, 10, 30, 80), fill=0))


def photographed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    large = image.resize((560, 560), Image.Resampling.BICUBIC)
    return photograph(large.crop(large.getbbox()), light_on_dark=bool(rng.random() < 0.5), rng=rng)


def prepared_or_blank(picture: Image.Image) -> Tensor:
    try:
        return prepare_digit(picture)
    except UserError:
        return torch.zeros(28, 28, dtype=torch.uint8)


@pytest.mark.parametrize("num_images", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_mnists_digits_are_read_from_pictures(num_images: int, mnist: Mnist, trained: DigitClassifier) -> None:
    """The prediction for a picture equals that for its MNIST image in 97 of 100 cases."""
    rng = np.random.default_rng(0)
    images, changes = mnist[1].images[:num_images, 0], [upscaled, inverted_and_padded, photographed]
    pictures = [changes[n % 3](Image.fromarray(image.numpy()), rng) for n, image in enumerate(images)]
    as_they_are = classify(trained, images).argmax(dim=1)
    read = classify(trained, torch.stack([prepared_or_blank(picture) for picture in pictures])).argmax(dim=1)
    assert (as_they_are == mnist[1].labels[:num_images]).double().mean() >= 0.98
    assert (read == as_they_are).double().mean() >= 0.97


def test_the_probabilities_are_the_mean_over_rotations(
    mnist: Mnist, trained: DigitClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, views = mnist[1].images[:20, 0], []
    probabilities = classify(trained, images)
    for degrees in (-10, 0, 10):
        monkeypatch.setattr("mnist_lightning.read.reading.ROTATIONS_DEGREES", (degrees,))
        views.append(classify(trained, images))
    torch.testing.assert_close(probabilities, torch.stack(views).mean(dim=0))
    assert (views[0] - views[2]).abs().max() > 1e-3
