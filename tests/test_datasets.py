"""Data sets: their statistics, and what a network keeps of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lightning.data.datasets import DATA_SETS, pixel_statistics
from mnist_lightning.main import main
from support.runs import Fit, read_report


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "offline_digits"])
def test_the_tables_statistics_are_those_of_the_training_images(name: str, mnist_dir: Path, fashion_dir: Path) -> None:
    known = DATA_SETS[name].statistics
    assert known is not None
    data_dir = fashion_dir if name == "fashion_mnist" else mnist_dir
    pixels = DATA_SETS[name].read(str(data_dir))[0].images.numpy() / 255
    assert known == (round(float(pixels.mean()), 4), round(float(pixels.std()), 4))


def test_a_network_normalises_as_it_was_trained(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    """On the offline digits not by MNIST's statistics, as the first versions did, whose checkpoints have none."""
    run = fit("--data.validation", "none")
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    loss = read_report(run)["test"]["loss"]
    assert checkpoint["hyper_parameters"]["pixel_mean"] == 0.1557

    def loss_in_test() -> float:
        capfd.readouterr()
        main(["test", "--ckpt_path", str(path)])
        return float(capfd.readouterr().out.split("loss ")[1])

    assert loss_in_test() == pytest.approx(loss, abs=1e-4)
    for name in ("class_names", "pixel_mean", "pixel_std"):
        del checkpoint["hyper_parameters"][name]
    torch.save(checkpoint, path)
    assert loss_in_test() != round(loss, 4)


def test_statistics_of_few_images() -> None:
    images = torch.tensor([0, 255, 255, 51], dtype=torch.uint8).view(1, 1, 2, 2)
    assert pixel_statistics(images) == pytest.approx((0.55, float(np.std([0, 1, 1, 0.2]))))
