"""A run as its folder has it: the report, the checkpoint to look at, and what the test images had a say in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import CheckpointError, SettingError
from mnist_lightning.runs.checkpoint import read_checkpoint
from mnist_lightning.runs.markdown import one_line
from mnist_lightning.runs.report import read_report

CheckpointName = Literal["last", "best"]


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, wherever it lies, with the weights of one of its checkpoints."""

    folder: Path
    report: dict[str, Any]  # as in report.json
    checkpoint: CheckpointName
    num_steps: int  # that its weights have taken
    classifier: DigitClassifier  # in evaluation mode, on the CPU
    data: DigitsDataModule

    @property
    def weights_title(self) -> str:
        """Which weights these are: `last.ckpt, after epoch 15 (step 1,770)`."""
        epochs = [row["epoch"] for row in self.report["epochs"] if row["steps"] == self.num_steps]
        place = f"after epoch {epochs[0]} (step {self.num_steps:,})" if epochs else f"after step {self.num_steps:,}"
        return f"{self.checkpoint}.ckpt, {place}"

    @property
    def part_of_the_test_images(self) -> str:
        """Whether the test images chose anything, in a sentence: on images that did, figures are a little too good."""
        report = one_line(self.report)
        if report["validation"] == "none":
            return "The test images chose nothing: the run was not validated, and they were read after training only."
        if report["validation"] == "holdout":
            chose = "chose these weights" if self.checkpoint == "best" else "were validated on"
            return f"The test images chose nothing: {report['validated_on']} {chose}."
        looked = "The test images were looked at after each epoch"
        if self.checkpoint == "best":
            return f"{looked}, and chose these weights as the best: new images would fare a little worse."
        if report["status"].startswith("stopped after"):
            return f"{looked}, and chose when the run stopped: new images would fare a little worse."
        return f"{looked}, but chose neither when this run ended nor which of its weights are shown."


def read_run(folder: Path, checkpoint: CheckpointName, data_dir: str | None) -> FinishedRun:
    """Reads a run's report and checkpoint; its images are read later.

    Args:
        folder: the run's folder, such as `runs/optimized/version_0`.
        checkpoint: which of its two.
        data_dir: where MNIST lies, as for `fit`.

    Raises:
        SettingError: there is no such run, or its report is damaged.
        CheckpointError: the run has no such checkpoint, or it is damaged.
    """
    report = _read_report(folder)
    path = folder / "checkpoints" / f"{checkpoint}.ckpt"
    other = "last" if checkpoint == "best" else "best"
    way_out = f"Try --checkpoint {other}." if path.with_stem(other).is_file() else "Name another run."
    if not path.is_file():
        why = " (without validation there is no best)" if checkpoint == "best" else ""
        raise CheckpointError(f"--checkpoint {checkpoint}: the run has no {path}{why}. {way_out}")
    try:
        trained = read_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"--checkpoint {checkpoint}: {str(error).removeprefix('--ckpt_path ')} {way_out}"
        ) from None
    match trained.content.get("global_step"):
        case int(num_steps):
            pass
        case _:
            raise CheckpointError(f"--checkpoint {checkpoint}: {path} does not say how many steps it took. {way_out}")
    return FinishedRun(folder, report, checkpoint, num_steps, trained.classifier(), trained.datamodule(data_dir))


def _read_report(folder: Path) -> dict[str, Any]:
    path = folder / "report.json"
    try:
        report = read_report(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise SettingError(_no_run(folder)) from None
    except OSError as error:
        raise SettingError(f"RUN {folder}: report.json cannot be read ({error.strerror}). Name another run.") from None
    except UnicodeDecodeError:
        report = None
    if report is None:
        raise SettingError(
            f"RUN {folder}: {path} is damaged, or no report of `fit`. To have it written anew, go on with the run: "
            f"`fit` with its config and --ckpt_path {folder / 'checkpoints' / 'last.ckpt'}."
        )
    return report


def _no_run(folder: Path) -> str:
    example = "runs/optimized/version_0"
    if not folder.is_dir():
        return (
            f"RUN {folder} {'is a file' if folder.exists() else 'does not exist'}. Name a run's folder, as {example}."
        )
    if runs := sorted(folder.glob("version_*/report.json"), key=lambda found: found.stat().st_mtime):
        return f"RUN {folder} is a folder of runs. Name one of them, such as the newest: {runs[-1].parent}."
    return (
        f"RUN {folder} is no run's folder, or of one that was killed in its first epoch: it has no report.json. "
        f"Name one that has, such as {example}."
    )
