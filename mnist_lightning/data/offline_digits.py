"""The 1,797 handwritten digits that scikit-learn includes: real digits without a download, but not MNIST."""

import torch
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.stratified_split import stratified_split

NUM_TEST_IMAGES = 360  # a fifth
SPLIT_SEED = 0  # constant, so that the test images never change


def read_offline_digits(data_dir: str | None = None) -> tuple[LabelledImages, LabelledImages]:
    """1,437 training and 360 test images, enlarged from 8×8 to 20×20 and padded to MNIST's 28×28.

    Source: the test part of https://archive.ics.uci.edu/dataset/80, with other writers than MNIST. scikit-learn holds
    them, not `data_dir`.

    Returns:
        Training set and test set: images (N, 1, 28, 28) uint8 and labels (N,) int64.
    """
    # Imported here because scikit-learn takes a second, and only this data set needs it.
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) * (255 / 16)  # (N, 1, 8, 8) in [0, 255]
    images = F.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    images = F.pad(images, [4, 4, 4, 4]).round().to(torch.uint8)  # (N, 1, 28, 28)
    labels = torch.from_numpy(target).long()
    train, test = stratified_split(labels, NUM_TEST_IMAGES, SPLIT_SEED)
    return LabelledImages(images[train], labels[train]), LabelledImages(images[test], labels[test])
