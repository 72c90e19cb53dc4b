"""The configs and the trained model that come with the package."""

from pathlib import Path

PACKAGE = Path(__file__).parent  # `configs` and `models` in it lead to the folders of the clone; a wheel holds copies


def find_file(path: str) -> str:
    """Returns the package's own file for a `configs/...` or `models/...` that the working directory lacks, else `path`.

    So a user's own file comes first, and the project's commands work outside a clone.
    """
    is_ours = path.startswith(("configs/", "models/")) and not Path(path).exists() and (PACKAGE / path).is_file()
    return str(PACKAGE / path) if is_ours else path
