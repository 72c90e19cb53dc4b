"""Batched augmentation: random affine maps for training, one-pixel shifts for test-time augmentation."""

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)

Interpolation = Literal["nearest", "bilinear"]


class AffineParameters(NamedTuple):
    """One affine map per image; each field has shape (B,) and dtype float32.

    Same order as torchvision: scale and shear, then rotation, both about the image's centre, then translation.
    """

    rotation_degrees: Tensor  # counter-clockwise, as torchvision's `rotate`
    translation_x_pixels: Tensor  # to the right
    translation_y_pixels: Tensor  # downwards
    scale: Tensor  # above 1 enlarges
    shear_degrees: Tensor  # along x, as torchvision's `affine`


def affine(images: Tensor, parameters: AffineParameters, interpolation: Interpolation) -> Tensor:
    """Applies one affine map per image; pixels from outside the image are 0.

    The images (B, C, H, H) are float, with background 0. Matches torchvision's `rotate` and `affine` on PIL images
    (tests/test_augmentation.py).
    """
    size = images.shape[-1]
    angle = -torch.deg2rad(parameters.rotation_degrees)  # clockwise: the y axis points down
    cos, sin = angle.cos(), angle.sin()
    shear = torch.deg2rad(parameters.shear_degrees).tan()
    # The inverse of rotation · shear · scale: grid_sample needs the source of each output pixel.
    a, b = (cos - sin * shear) / parameters.scale, (sin + cos * shear) / parameters.scale
    c, d = -sin / parameters.scale, cos / parameters.scale
    # grid_sample's coordinates run from -1 to 1.
    x, y = parameters.translation_x_pixels * (2 / size), parameters.translation_y_pixels * (2 / size)
    rows = [a, b, -(a * x + b * y), c, d, -(c * x + d * y)]
    matrices = torch.stack(rows, dim=1).view(-1, 2, 3).to(images.dtype)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)  # (B, H, H, 2)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def one_pixel_shifts(images: Tensor) -> Tensor:
    """Images (B, C, H, H) and their shifts by a pixel in the eight directions: (9, B, C, H, H), the unshifted first."""
    size = images.shape[-1]
    padded = F.pad(images, (1, 1, 1, 1))
    shifts = [(0, 0), *(shift for shift in itertools.product((-1, 0, 1), repeat=2) if shift != (0, 0))]
    return torch.stack([padded[..., 1 - y : 1 - y + size, 1 - x : 1 - x + size] for y, x in shifts])


@dataclass(frozen=True)
class RandomAffine:
    """Applies to each image an affine map with its own, uniformly drawn parameters.

    As in torchvision's RandomAffine, `nearest` translates by whole pixels.
    """

    rotation_degrees: float  # the largest, in either direction
    translation_percent: float  # the largest along x and along y, of the image's side
    scale_percent: float = 0  # the largest change of size
    shear_degrees: float = 0  # the largest, along x
    interpolation: Interpolation = "nearest"

    def draw(self, num_images: int, image_size: int, generator: torch.Generator) -> AffineParameters:
        """Draws `num_images` maps on the generator's device, for square images with a side of `image_size` pixels."""
        uniform = torch.rand(5, num_images, generator=generator, device=generator.device) * 2 - 1
        translation = uniform[1:3] * (self.translation_percent / 100 * image_size)
        if self.interpolation == "nearest":
            translation = translation.round()
        return AffineParameters(
            rotation_degrees=uniform[0] * self.rotation_degrees,
            translation_x_pixels=translation[0],
            translation_y_pixels=translation[1],
            scale=1 + uniform[3] * (self.scale_percent / 100),
            shear_degrees=uniform[4] * self.shear_degrees,
        )

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Augments images (B, C, H, H) float with background 0; the same `seed` draws the same maps."""
        if not any([self.rotation_degrees, self.translation_percent, self.scale_percent, self.shear_degrees]):
            return images
        generator = torch.Generator(images.device).manual_seed(seed)
        return affine(images, self.draw(len(images), images.shape[-1], generator), self.interpolation)
