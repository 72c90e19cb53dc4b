"""Values within bounds: the command line refuses what lies outside before any work, and names the option."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser
from jsonargparse.typing import restricted_number_type, restricted_string_type

if TYPE_CHECKING:
    Degrees = float
    Percent = float
    ShearDegrees = float
    BelowOne = float
    Rate = float
    RateOrZero = float
    Norm = float
    Count = int
    BatchSize = int
    CountOrZero = int
    Processes = int
    Threads = int
    Width = int
    Seed = int
    End = int
    AllOrCount = int
    Port = int
    PathText = str
else:
    MOST = 2**31 - 1  # what a 32-bit integer holds

    Degrees = restricted_number_type("Degrees", float, [(">=", 0), ("<=", 180)])
    Percent = restricted_number_type("Percent", float, [(">=", 0), ("<", 100)])
    ShearDegrees = restricted_number_type("ShearDegrees", float, [(">=", 0), ("<", 90)])
    BelowOne = restricted_number_type("BelowOne", float, [(">=", 0), ("<", 1)])
    # A product of two rates fits into half precision, whose largest number is 65,504.
    Rate = restricted_number_type("Rate", float, [(">", 0), ("<=", 100)])
    RateOrZero = restricted_number_type("RateOrZero", float, [(">=", 0), ("<=", 100)])
    Norm = restricted_number_type("Norm", float, [(">=", 0), ("<", float("inf"))])
    Count = restricted_number_type("Count", int, [(">=", 1), ("<=", MOST)])
    CountOrZero = restricted_number_type("CountOrZero", int, [(">=", 0), ("<=", MOST)])
    # More than MNIST has images; what is computed of one batch at once takes 100 kB an image.
    BatchSize = restricted_number_type("BatchSize", int, [(">=", 1), ("<=", 2**16)])
    # More than any machine has cores: each would take its share of memory first.
    Processes = restricted_number_type("Processes", int, [(">=", 0), ("<=", 256)])
    Threads = restricted_number_type("Threads", int, [(">=", 1), ("<=", 1024)])
    Width = restricted_number_type("Width", int, [(">=", 1), ("<=", 64)])  # 64: 75 million parameters
    Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])  # numpy's range
    End = restricted_number_type("End", int, [("==", -1), (">=", 1)], join="or")  # -1: none
    AllOrCount = restricted_number_type("AllOrCount", int, [(">=", -1), ("<=", MOST)])  # -1: all
    Port = restricted_number_type("Port", int, [(">=", 1), ("<=", 65_535)])
    # What a file system takes: no zero byte, and nothing that is no character.
    PathText = restricted_string_type("PathText", r"[^\x00\ud800-\udfff]+\Z")

# For options of the framework's, whose own types let through what fails in the middle of a run.
TRAINER_TYPES = {
    "max_epochs": End | None,
    "max_steps": End,
    "min_epochs": CountOrZero | None,
    "min_steps": CountOrZero | None,
    # The integer 1 is one batch, the float 1.0 all of them. Which one `1` is read as hangs on what was imported first:
    # typing.Optional's cache takes Union[int, float] and Union[float, int] for the same.
    "limit_train_batches": int | float | None,
    "limit_val_batches": int | float | None,
    "limit_test_batches": int | float | None,
    "limit_predict_batches": int | float | None,
    "val_check_interval": int | float | None,
    "check_val_every_n_epoch": Count | None,
    "num_sanity_val_steps": AllOrCount,
    "log_every_n_steps": CountOrZero | None,
    "accumulate_grad_batches": Count,
    "gradient_clip_val": Norm | None,
    "fast_dev_run": bool | CountOrZero,
    "num_nodes": Count,
    "reload_dataloaders_every_n_epochs": CountOrZero,
    "default_root_dir": PathText,
}


def bound_trainer_options(parser: ArgumentParser) -> None:
    """Gives the options `trainer.*` of a parser these types."""
    for action in parser._actions:  # no public way leads to the type of an option that a class gives
        if (name := action.dest.removeprefix("trainer.")) in TRAINER_TYPES:
            action._typehint = TRAINER_TYPES[name]  # type: ignore[attr-defined]
