"""`python -m mnist_lightning read`: recognises the digits in image files and prints one line per file."""

import sys
from pathlib import Path

from mnist_lightning.errors import CheckpointError


def read(
    images: list[str],
    /,
    ckpt_path: str = "models/mnist.ckpt",
    output: str | None = None,
    network: str | None = None,
) -> None:
    """Recognise the digit in each image file and print one line per file; status 1 if one is not read with certainty.

    Args:
        images: Image files or folders with image files: PNG, JPEG, GIF, BMP, TIFF, WebP or PPM.
        ckpt_path: Checkpoint of the network.
        output: New file for the results, FILE.csv or FILE.json.
        network: Class path of the checkpoint's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.data.datasets import DIGITS
    from mnist_lightning.data.image_files import find_images
    from mnist_lightning.files import check_output, one_line, write_rows
    from mnist_lightning.read.reading import read_picture
    from mnist_lightning.runs.checkpoint import load_classifier

    if output is not None:
        check_output(Path(output), ".csv", ".json")
    classifier = load_classifier(ckpt_path, network)
    if classifier.class_names != DIGITS:
        raise CheckpointError(
            f"--ckpt_path {ckpt_path}: `read` recognises digits, but this network was trained on the classes "
            f"{', '.join(classifier.class_names)}. Name a checkpoint of digits."
        )
    paths = find_images(images)
    names = [one_line(str(path)) for path in paths]
    width = max(map(len, ["file", *names]))
    print(f"{'file':{width}}  digit  probability  runner-up")
    rows = []
    for name, path in zip(names, paths, strict=True):
        row, line = read_picture(classifier, path)
        rows.append({"file": name, **row})
        print(f"{name:{width}}  {line}", flush=True)
    if output is not None:
        write_rows(Path(output), rows)
    if any(row["problem"] is not None for row in rows):
        sys.exit(1)
