"""docs/your_images.md: the class project, starting from trained weights, and answers from Python and over HTTP."""

import csv
import json
import re
import shlex
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mnist_lightning.data.image_files import find_classes, read_image_folder
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier, start_from
from support.runs import PROJECT, Fit, read_report

PAGE = (PROJECT / "docs" / "your_images.md").read_text(encoding="utf-8")
SHIPPED = str(PROJECT / "models" / "mnist.ckpt")


def shape(name: str, generator: np.random.Generator) -> Image.Image:
    """A drawing with dark ink on white paper."""
    image = Image.new("L", (80, 80), 255)
    pen = ImageDraw.Draw(image)
    x, y, size = generator.uniform(30, 50), generator.uniform(30, 50), generator.uniform(18, 26)
    corners = {"circle": 0, "square": 4, "triangle": 3, "cross": 0, "star": 5}[name]
    if name == "circle":
        pen.ellipse((x - size, y - size, x + size, y + size), outline=20, width=5)
    elif name == "cross":
        pen.line((x - size, y, x + size, y), fill=20, width=5)
        pen.line((x, y - size, x, y + size), fill=20, width=5)
    else:
        step = 2 if name == "star" else 1
        angles = [2 * np.pi * place * step / corners + generator.uniform(-0.05, 0.05) for place in range(corners + 1)]
        pen.line([(x + size * np.sin(angle), y - size * np.cos(angle)) for angle in angles], fill=20, width=5)
    return image


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with 40 drawings of each of five classes, and three new ones."""
    generator = np.random.default_rng(0)
    for name in ("circle", "square", "triangle", "cross", "star"):
        (tmp_path / "my_shapes" / name).mkdir(parents=True)
        for number in range(40):
            shape(name, generator).save(tmp_path / "my_shapes" / name / f"{number}.jpg")
    (tmp_path / "new_shapes").mkdir()
    for name in ("star", "cross", "circle"):
        shape(name, generator).save(tmp_path / "new_shapes" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_class_project(shapes: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"### A class project.*?```sh\n(.*?)```", PAGE, re.DOTALL)
    for command in block.splitlines():
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "mnist_lightning"]
        main(words[3:])
    printed = capfd.readouterr().out
    assert "Starting from models/mnist.ckpt: " in printed
    report = read_report(shapes / "runs" / "shapes" / "version_0")
    assert report["epochs"][-1]["val_accuracy"] > 0.9
    with (shapes / "shapes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).stem for row in rows] == ["circle", "cross", "star"]
    assert sum(Path(row["file"]).stem == row["class"] for row in rows) >= 2
    assert (shapes / "shapes.onnx").exists()


def test_a_folder_without_parts_is_split(shapes: Path) -> None:
    data = DigitsDataModule("my_shapes", "folder", num_holdout=50)
    train, test = data.images("train"), data.images("test")
    assert train.labels.bincount().tolist() == [30] * 5
    assert test.labels.bincount().tolist() == [10] * 5
    inverted = DigitsDataModule("my_shapes", "folder", num_holdout=50, invert=True).images("train")
    assert torch.equal(inverted.images, 255 - train.images)


def test_inverted_images_are_padded_with_black(shapes: Path) -> None:
    for name in ("circle", "star"):
        Image.new("L", (80, 40), 255).save(shapes / "my_shapes" / name / "wide.png")
    wide = DigitsDataModule("my_shapes", "folder", num_holdout=50, invert=True).images("train").images
    assert int(wide[:, 0, [0, -1]].max()) < 50  # the first and the last row of every image


def test_inverted_images_have_inverted_statistics() -> None:
    data = DigitsDataModule(dataset="offline_digits", invert=True)
    pixels = data.images("train").images / 255
    assert data.pixels == pytest.approx((float(pixels.mean()), float(pixels.std())), abs=1e-3)


def test_images_without_classes_are_only_predicted(shapes: Path, fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    assert find_classes(str(shapes / "new_shapes")) == ()
    train, test = read_image_folder(str(shapes / "new_shapes"))
    assert test is not None
    assert (len(train.labels), len(test.labels)) == (0, 3)
    with pytest.raises(SystemExit, match="2"):
        fit("--data.dataset", "folder", "--data.data_dir", str(shapes / "new_shapes"))
    assert "holds images without classes: only `predict` takes them" in capfd.readouterr().err
    main(["predict", "--ckpt_path", SHIPPED, "--data.dataset", "folder", "--data.data_dir", str(shapes / "new_shapes")])
    header, *rows = capfd.readouterr().out.splitlines()
    assert header == "file,class,probability"
    assert [Path(row.partition(",")[0]).name for row in rows] == ["circle.png", "cross.png", "star.png"]


def test_a_run_starts_from_trained_weights(shapes: Path, fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    data = ("--data.dataset", "folder", "--data.data_dir", str(shapes / "my_shapes"), "--data.num_holdout", "50")
    fit(*data, "--init_from", SHIPPED)
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("Starting from ")]
    assert "New: layers.19.weight, layers.20.bias, layers.20.running_mean" in line
    trained = load_classifier(SHIPPED)
    fresh = load_classifier(SHIPPED)
    torch.nn.init.zeros_(next(fresh.net.parameters()))
    start_from(fresh, SHIPPED)
    assert all(torch.equal(a, b) for a, b in zip(fresh.net.parameters(), trained.net.parameters(), strict=True))
    for path, channels, error in (
        ("none.ckpt", "[10,18,18,28,28]", "--init_from none.ckpt does not exist"),
        (SHIPPED, "[3,4,5,6,7]", "no layer has the weights of this network. Use the --model.network and"),
    ):
        with pytest.raises(SystemExit, match="2"):
            fit("--init_from", path, "--model.channels", channels)
        assert error in capfd.readouterr().err


@pytest.mark.parametrize(("page", "printed"), [("your_images", r"7 0\.9\d+\n$"), ("python", r"tensor\(\[\[\d\d,")])
def test_the_lines_of_python(page: str, printed: str, in_project: None) -> None:
    text = (PROJECT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search(printed, done.stdout)


def test_the_web_service(in_project: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "examples"))
    from service import Service  # type: ignore[import-not-found]

    with HTTPServer(("localhost", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}"
        with urllib.request.urlopen(address, (PROJECT / "examples" / "seven.jpg").read_bytes()) as reply:
            assert json.load(reply)["name"] == "7"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address, b"no picture")
        assert "not an image" in json.load(refused.value)["problem"]
        server.shutdown()
