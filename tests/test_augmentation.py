"""The batched augmentation, compared with torchvision's on PIL images."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF  # noqa: N812  (PyTorch's usual name)

from mnist_lightning.data.batches import (
    AffineParameters,
    Interpolation,
    LabelledImages,
    RandomAffine,
    affine,
    one_pixel_shifts,
)

NUM_IMAGES = 1000

Reference = Callable[[Image.Image, int, AffineParameters, InterpolationMode], Image.Image]


@pytest.fixture(scope="module")
def images(mnist: tuple[LabelledImages, LabelledImages]) -> Tensor:
    return mnist[0].images[:NUM_IMAGES].float()


def draw(augmentation: RandomAffine) -> AffineParameters:
    return augmentation.draw(NUM_IMAGES, 28, torch.Generator().manual_seed(0))


def rotate_then_translate(image: Image.Image, i: int, p: AffineParameters, mode: InterpolationMode) -> Image.Image:
    shift = [round(p.translation_x_pixels[i].item()), round(p.translation_y_pixels[i].item())]
    rotated = TF.rotate(image, p.rotation_degrees[i].item(), mode)
    moved: Image.Image = TF.affine(rotated, angle=0, translate=shift, scale=1, shear=[0.0], interpolation=mode)
    return moved


def one_affine(image: Image.Image, i: int, p: AffineParameters, mode: InterpolationMode) -> Image.Image:
    shift = [round(p.translation_x_pixels[i].item()), round(p.translation_y_pixels[i].item())]
    mapped: Image.Image = TF.affine(
        image,
        angle=-p.rotation_degrees[i].item(),  # `affine` counts clockwise, `rotate` counter-clockwise
        translate=shift,
        scale=p.scale[i].item(),
        shear=[p.shear_degrees[i].item(), 0.0],  # along x only
        interpolation=mode,
    )
    return mapped


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("augmentation", "reference"),
    [
        (RandomAffine(7, 10), rotate_then_translate),
        (RandomAffine(7, 10), one_affine),
        (RandomAffine(10, 10, 10, 8), one_affine),
    ],
)
def test_maps_agree_with_torchvision(
    images: Tensor, augmentation: RandomAffine, reference: Reference, interpolation: Interpolation
) -> None:
    parameters = draw(replace(augmentation, interpolation=interpolation))
    parameters = parameters._replace(
        translation_x_pixels=parameters.translation_x_pixels.round(),  # torchvision translates by whole pixels
        translation_y_pixels=parameters.translation_y_pixels.round(),
    )
    ours = affine(images, parameters, interpolation)
    mode = InterpolationMode[interpolation.upper()]
    theirs = [
        np.asarray(reference(Image.fromarray(image[0].byte().numpy()), i, parameters, mode))
        for i, image in enumerate(images)
    ]
    differences = (ours[:, 0] - torch.from_numpy(np.stack(theirs)).float()).abs()
    # The few others are rounding ties, and strokes at the border: PIL extends them, we blend with the background.
    tolerance = {"nearest": 0, "bilinear": 2}[interpolation]
    assert (differences <= tolerance).float().mean() >= 0.999


def test_zero_strength_is_the_identity(images: Tensor) -> None:
    assert torch.equal(RandomAffine(0, 0)(images, seed=1), images)


def test_each_image_has_its_own_parameters(images: Tensor) -> None:
    same = images[:1].expand(50, -1, -1, -1)
    assert len(torch.unique(RandomAffine(7, 10)(same, seed=1), dim=0)) > 40


def test_an_image_does_not_depend_on_the_others(images: Tensor) -> None:
    parameters = draw(RandomAffine(7, 10))
    alone = affine(images[5:6], AffineParameters(*(field[5:6] for field in parameters)), "nearest")
    assert torch.equal(affine(images, parameters, "nearest")[5:6], alone)


def test_the_seed_determines_the_draws(images: Tensor) -> None:
    augmentation = RandomAffine(7, 10)
    assert torch.equal(augmentation(images, seed=1), augmentation(images, seed=1))
    assert not torch.equal(augmentation(images, seed=1), augmentation(images, seed=2))


def test_draws_are_uniform() -> None:
    p = RandomAffine(7, 10, 20, 8).draw(20_000, 28, torch.Generator().manual_seed(0))
    for values, limit in ((p.rotation_degrees, 7), (p.shear_degrees, 8), ((p.scale - 1) * 100, 20)):
        assert values.abs().max() <= limit * 1.0001
        assert values.mean().abs() < 0.02 * limit
        assert values.std() == pytest.approx(limit / 3**0.5, rel=0.02)
    # ±2.8 pixels, rounded: each of ±3 gets 0.3 of 5.6.
    assert p.translation_x_pixels.unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert (p.translation_y_pixels == 3).float().mean() == pytest.approx(0.3 / 5.6, rel=0.15)


def test_bilinear_translates_by_fractions() -> None:
    p = RandomAffine(0, 10, interpolation="bilinear").draw(100, 28, torch.Generator().manual_seed(0))
    assert len(p.translation_x_pixels.unique()) == 100


def test_one_pixel_shifts(images: Tensor) -> None:
    images = images[:20].clone()
    images[..., [0, -1], :] = images[..., :, [0, -1]] = 0  # `roll` wraps around
    views = one_pixel_shifts(images)
    shifts = [(0, 0), *((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))]
    assert torch.equal(views, torch.stack([images.roll(shift, (2, 3)) for shift in shifts]))
