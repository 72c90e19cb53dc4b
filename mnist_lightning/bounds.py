"""Types with bounds: the command line rejects a value out of range before any work starts, and names the option."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser
from jsonargparse.typing import restricted_number_type, restricted_string_type

from mnist_lightning.errors import UserError

if TYPE_CHECKING:
    Degrees = float
    Percent = float
    ShearDegrees = float
    BelowOne = float
    Rate = float
    RateOrZero = float
    Fraction = float
    Norm = float
    Count = int
    BatchSize = int
    CountOrZero = int
    Processes = int
    Threads = int
    Channels = tuple[int, ...]
    Seed = int
    End = int
    AllOrCount = int
    Port = int
    PathText = str
else:
    MAX_INT32 = 2**31 - 1

    Degrees = restricted_number_type("Degrees", float, [(">=", 0), ("<=", 180)])
    Percent = restricted_number_type("Percent", float, [(">=", 0), ("<", 100)])
    ShearDegrees = restricted_number_type("ShearDegrees", float, [(">=", 0), ("<", 90)])
    BelowOne = restricted_number_type("BelowOne", float, [(">=", 0), ("<", 1)])
    # The product of two rates stays below 65,504, the largest number in half precision.
    Rate = restricted_number_type("Rate", float, [(">", 0), ("<=", 100)])
    RateOrZero = restricted_number_type("RateOrZero", float, [(">=", 0), ("<=", 100)])
    Fraction = restricted_number_type("Fraction", float, [(">", 0), ("<=", 1)])
    Norm = restricted_number_type("Norm", float, [(">=", 0), ("<", float("inf"))])
    Count = restricted_number_type("Count", int, [(">=", 1), ("<=", MAX_INT32)])
    CountOrZero = restricted_number_type("CountOrZero", int, [(">=", 0), ("<=", MAX_INT32)])
    # More than MNIST has images; the activations take 100 kB per image.
    BatchSize = restricted_number_type("BatchSize", int, [(">=", 1), ("<=", 2**16)])
    # More than any machine has cores: each process takes memory before it computes anything.
    Processes = restricted_number_type("Processes", int, [(">=", 0), ("<=", 256)])
    Threads = restricted_number_type("Threads", int, [(">=", 1), ("<=", 1024)])
    # 2,048 in each layer: 150 million parameters.
    Channel = restricted_number_type("Channel", int, [(">=", 1), ("<=", 2048)])
    Channels = tuple[Channel, Channel, Channel, Channel, Channel]
    Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])  # numpy's range
    End = restricted_number_type("End", int, [("==", -1), (">=", 1)], join="or")  # -1: no limit
    AllOrCount = restricted_number_type("AllOrCount", int, [(">=", -1), ("<=", MAX_INT32)])  # -1: all
    Port = restricted_number_type("Port", int, [(">=", 1), ("<=", 65_535)])
    # What a file system accepts: no zero byte and no lone surrogate.
    PathText = restricted_string_type("PathText", r"[^\x00\ud800-\udfff]+\Z")

# Stricter than the Trainer's own types, which accept values that fail in the middle of a run.
TRAINER_TYPES = {
    "max_epochs": End | None,
    "max_steps": End,
    "min_epochs": CountOrZero | None,
    "min_steps": CountOrZero | None,
    # The integer 1 means one batch, the float 1.0 all of them. With the Trainer's types, the meaning of `1` depends on
    # import order, because typing.Optional's cache treats Union[int, float] and Union[float, int] as equal.
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
    """Sets the types of the parser's `trainer.*` options to `TRAINER_TYPES`."""
    for action in parser._actions:  # jsonargparse has no public way to change the type of a class's option
        if (name := action.dest.removeprefix("trainer.")) in TRAINER_TYPES:
            action._typehint = TRAINER_TYPES[name]  # type: ignore[attr-defined]


def check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Checks arguments against the function's bounded types and Literals, as the command line's parser does.

    Raises:
        UserError: one does not fit.
    """
    for name, hint in get_type_hints(function).items():
        value = arguments.get(name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise UserError(f"{name}={value!r}: use one of {', '.join(map(repr, get_args(hint)))}.")
        bounds, values = (get_args(hint), value) if hint == Channels else ((hint,), (value,))
        if not isinstance(values, list | tuple) or len(values) != len(bounds):
            raise UserError(f"{name}={value!r}: use {len(bounds)} numbers.")
        for bound, number in zip(bounds, values, strict=True):
            if getattr(bound, "__module__", "") == BelowOne.__module__:
                try:
                    bound(number)
                except ValueError as error:
                    raise UserError(f"{name}={value!r}: {error}. Use another value.") from None
