"""`python -m mnist_lightning read`: says what image files show, and prints one line per file."""

import sys
from pathlib import Path


def read(
    images: list[str],
    /,
    ckpt_path: str = "models/mnist.ckpt",
    output: str | None = None,
    network: str | None = None,
) -> None:
    """Say what each image file shows, in one line per file; status 1 if one is not read with certainty.

    A network of digits finds the digit in the picture; others see the picture as their training images were prepared.

    Args:
        images: Image files or folders with image files: PNG, JPEG, GIF, BMP, TIFF, WebP or PPM.
        ckpt_path: Checkpoint of the network.
        output: New file for the results, FILE.csv.
        network: Class path of the checkpoint's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.data.datasets import DIGITS
    from mnist_lightning.data.image_files import images_below
    from mnist_lightning.errors import UserError
    from mnist_lightning.files import atomic_write, check_output, csv_text, one_line
    from mnist_lightning.read.reading import Answer, read_picture
    from mnist_lightning.runs.checkpoint import load_classifier

    if output is not None:
        check_output(Path(output), ".csv")
    classifier = load_classifier(ckpt_path, network)
    heading = "digit" if classifier.class_names == DIGITS else "class"
    paths = [path for name in images for path in (images_below(Path(name)) or [Path(name)])]
    names = [one_line(str(path)) for path in paths]
    width, answer_width = (max(map(len, texts)) for texts in (["file", *names], [heading, *classifier.class_names]))
    print(f"{'file':{width}}  {heading:>{answer_width}}  probability  runner-up")
    rows = []
    for name, path in zip(names, paths, strict=True):
        row: dict[str, object] = {"file": name}
        try:
            answer = read_picture(classifier, path)
            problem = answer.problem if heading == "digit" else None  # the threshold was chosen for digits
            row |= {**answer._asdict(), "problem": problem}
            shown = f"{answer.name:>{answer_width}}  {answer.probability:>11.2%}  {answer.second}"
            line = shown if problem is None else f"{'?':>{answer_width}}  {problem}"
        except UserError as error:
            row |= {**dict.fromkeys(Answer._fields), "problem": str(error)}
            line = f"{'–':>{answer_width}}  {error}"
        rows.append(row)
        print(f"{name:{width}}  {line}", flush=True)
    if output is not None:
        atomic_write(Path(output), csv_text(rows))
    if any(row["problem"] is not None for row in rows):
        sys.exit(1)
