"""`python -m mnist_lightning read`: recognises the digits in image files and prints one line per file."""

from collections.abc import Sequence

from mnist_lightning.bounds import PathText, Threads
from mnist_lightning.data import IMAGE_KINDS
from mnist_lightning.options import command_parser, parse_options


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["photo.png", "scans/"])`."""
    parser = command_parser(read, positional=("images",))
    parser.add_argument(
        "images", nargs="+", type=PathText, help=f"Image files or folders with image files: {IMAGE_KINDS}."
    )
    read(**parse_options(parser, args))


def read(
    images: list[str],
    ckpt_path: PathText = "models/mnist.ckpt",
    output: PathText | None = None,
    prepared: PathText | None = None,
    num_threads: Threads | None = None,
) -> None:
    """Recognise the digit in each image file and print one line per file.

    Args:
        images: Image files or folders with image files.
        ckpt_path: Checkpoint of the network.
        output: New file for the results, FILE.csv or FILE.json.
        prepared: New folder for the 28 × 28 images that the network receives, named after the image files.
        num_threads: Number of CPU threads; one per core by default.

    Raises:
        SystemExit: status 1 if a file does not show exactly one digit, the network is not sure which it is, or its
            prepared image cannot be written.
        UserError: `output` or `prepared` exists already or cannot be written.
        CheckpointError: the checkpoint cannot be read.
    """
    from mnist_lightning.read.listing import print_digits

    print_digits(images, ckpt_path, output, prepared, num_threads)
