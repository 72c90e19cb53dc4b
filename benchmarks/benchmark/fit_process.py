"""Runs `fit` in a separate process, as a user does."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fit_report(*args: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Runs `fit` to its end in a temporary folder.

    Args:
        args: arguments of `fit`.
        environment: additional environment variables.

    Returns:
        The run's report.

    Raises:
        subprocess.CalledProcessError: the run failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "mnist_lightning", "fit", *args, "--trainer.default_root_dir", directory]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | (environment or {}))
        (path,) = Path(directory).glob("*/version_0/report.json")
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report
