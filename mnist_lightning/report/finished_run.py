"""A run as read from its folder: the report, one of its checkpoints, and what the test images chose."""

from dataclasses import dataclass
from pathlib import Path

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import CheckpointError, UserError
from mnist_lightning.files import from_json, one_line
from mnist_lightning.report import CheckpointName
from mnist_lightning.runs.checkpoint import read_checkpoint
from mnist_lightning.runs.record import Record


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder with the weights of one of its checkpoints."""

    folder: Path
    report: Record
    checkpoint: CheckpointName
    num_steps: int  # optimizer steps that the weights have taken
    classifier: DigitClassifier  # in evaluation mode, on the CPU
    data: DigitsDataModule

    @property
    def weights_title(self) -> str:
        """Which weights these are: `last.ckpt, after epoch 15 (step 1,770)`."""
        epochs = [row.epoch for row in self.report.epochs if row.steps == self.num_steps and row.is_whole]
        place = f"after epoch {epochs[0]} (step {self.num_steps:,})" if epochs else f"after step {self.num_steps:,}"
        return f"{self.checkpoint}.ckpt, {place}"

    @property
    def part_of_the_test_images(self) -> str:
        """What the test images chose, in a sentence: if they chose anything, figures on them are too optimistic."""
        if self.report.validation == "none":
            return "The test images chose nothing: the run was not validated, and they were read after training only."
        if self.report.validation == "holdout":
            chose = "chose these weights" if self.checkpoint == "best" else "were validated on"
            return f"The test images chose nothing: {one_line(self.report.validated_on)} {chose}."
        looked = "The test images were looked at after each epoch"
        optimistic = "on new images the accuracy is likely to be slightly lower"
        if self.checkpoint == "best":
            return f"{looked}, and chose these weights as the best: {optimistic}."
        if self.report.status.startswith("stopped after"):
            return f"{looked}, and chose when the run stopped: {optimistic}."
        return f"{looked}, but chose neither when this run ended nor which of its weights are shown."


def read_run(folder: Path, checkpoint: CheckpointName, data_dir: str | None) -> FinishedRun:
    """Reads a run's report and checkpoint; its images are read later.

    Args:
        folder: the run's folder, such as `runs/optimized/version_0`.
        checkpoint: which one to read.
        data_dir: directory of the images, as for `fit`.

    Raises:
        UserError: there is no such run, or its report is damaged.
        CheckpointError: the run has no such checkpoint, or it is damaged.
    """
    report = _read_report(folder)
    path = folder / "checkpoints" / f"{checkpoint}.ckpt"
    other = "last" if checkpoint == "best" else "best"
    hint = f"Try --checkpoint {other}." if path.with_stem(other).is_file() else "Name another run."
    if not path.is_file():
        why = " (without validation there is no best)" if checkpoint == "best" else ""
        raise CheckpointError(f"--checkpoint {checkpoint}: the run has no {path}{why}. {hint}")
    try:
        trained = read_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"--checkpoint {checkpoint}: {str(error).removeprefix('--ckpt_path ')} {hint}") from None
    match trained.content.get("global_step"):
        case int(num_steps):
            pass
        case _:
            raise CheckpointError(f"--checkpoint {checkpoint}: {path} does not say how many steps it took. {hint}")
    return FinishedRun(folder, report, checkpoint, num_steps, trained.classifier(), trained.datamodule(data_dir))


def _read_report(folder: Path) -> Record:
    path = folder / "report.json"
    try:
        return from_json(Record, path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(_no_run(folder)) from None
    except OSError as error:
        raise UserError(f"RUN {folder}: report.json cannot be read ({error.strerror}). Name another run.") from None
    except ValueError as error:
        raise UserError(
            f"RUN {folder}: {path} is damaged, or was not written by `fit` ({one_line(str(error))}). To write it "
            f"again, resume the run: `fit` with its config and --ckpt_path {folder / 'checkpoints' / 'last.ckpt'}."
        ) from None


def _no_run(folder: Path) -> str:
    example = "runs/optimized/version_0"
    if not folder.is_dir():
        fault = "is a file" if folder.exists() else "does not exist"
        return f"RUN {folder} {fault}. Name a run's folder, such as {example}."
    if runs := sorted(folder.glob("version_*/report.json"), key=lambda found: found.stat().st_mtime):
        return f"RUN {folder} is a folder of runs. Name one of them, such as the newest: {runs[-1].parent}."
    return (
        f"RUN {folder} is no run's folder, or the run was killed in its first epoch: it has no report.json. "
        f"Name a folder that has one, such as {example}."
    )
