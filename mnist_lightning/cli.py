"""`fit`, `validate`, `test` and `predict`: a LightningCLI that gives each run a folder, its callbacks and a record."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.callbacks.evaluation import EvaluationOutput
from mnist_lightning.callbacks.progress import close_bars
from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.callbacks.stop import StopAtThreshold
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import PROGRAM, Terminated, UserError
from mnist_lightning.files import atomic_write, check_output, expanded, one_line
from mnist_lightning.options import TRAINER_COMMANDS, ShortErrorParser, telling_reason
from mnist_lightning.runs import folder, settings
from mnist_lightning.runs.checkpoint import read_checkpoint, settings_config, start_from
from mnist_lightning.trainer import as_list, trainer_arguments, without_handlers


class RunParser(ShortErrorParser, LightningArgumentParser):
    """The framework's parser, with short errors."""


def run_options(
    ckpt_path: str | None = None, run_name: str | None = None, num_threads: PositiveInt | None = None
) -> None:
    """Never called: its signature and docstring are options of all commands here.

    Args:
        ckpt_path: Checkpoint; `last` is the newest last.ckpt in the runs of these configs, or of --run_name. `fit`
            resumes the run whose checkpoints/last.ckpt it is; the other commands need one.
        run_name: Name of the run's folder under runs; by default the configs' names, as in optimized-cpu.
        num_threads: CPU threads; by default one per core. 1 is faster on a machine that is busy with other work.
    """


class CommandLine(LightningCLI):
    """`fit`, `validate`, `test` and `predict`, for one module and one data module.

    Building it runs the command: LightningCLI calls, in this order, `parse_arguments`, `before_instantiate_classes`,
    `instantiate_trainer`, and the method of the command's name. Options win over configs, wherever they stand.
    """

    model: DigitClassifier
    datamodule: DigitsDataModule

    def __init__(self, args: list[str]) -> None:
        self.command = args[0]
        self.configs, self.options = split_configs(args[1:])
        self.ckpt_path: Path | None = None
        self.run_folder: Path | None = None  # of `fit`, in the first process
        try:
            super().__init__(
                DigitClassifier,
                DigitsDataModule,
                args=args,
                parser_class=RunParser,
                parser_kwargs={"prog": PROGRAM, self.command: {"description": TRAINER_COMMANDS[self.command]}},
                save_config_callback=None,  # it would save the config of every command; ours is saved with the folder
                auto_configure_optimizers=False,
                trainer_defaults={
                    "default_root_dir": "runs",
                    "num_sanity_val_steps": 0,  # the first epoch ends soon enough to show a broken validation
                    "enable_model_summary": False,  # RunRecord prints the table of layers
                    "enable_autolog_hparams": False,  # would log the module's and the data's settings, but no others
                },
            )
        except BaseException as error:
            close_bars()
            if self.run_folder is not None and self.ckpt_path is None:
                folder.remove_unused(self.run_folder, hasattr(self, "trainer") and self.trainer.global_step > 0)
            if (explained := self._explained(error)) is not None:
                raise explained from None
            raise

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static there: it knows no arguments
        """The requested subcommand only: a parser for each takes a tenth of a second to build.

        The values name the arguments of the Trainer's methods that are no options.
        """
        not_options = {"weights_only", "verbose", "return_predictions", "ckpt_path"}
        return {self.command: LightningCLI.subcommands()[self.command] | not_options}

    @override
    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        seed = "Seed of all random draws, from 0 to 4294967295."
        parser.add_argument("--seed_everything", type=NonNegativeInt, default=0, help=seed)

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_function_arguments(run_options, as_group=False)
        parser.link_arguments("seed_everything", "data.seed")
        if self.command == "fit":  # other commands take what the checkpoint was trained with
            start = "Checkpoint to start from: tensors of the same name and shape are taken, the others start anew."
            parser.add_argument("--init_from", type=str | None, default=None, help=start)
            parser.add_lightning_class_args(StopAtThreshold, "early_stopping")
            for name in ("class_names", "pixel_mean", "pixel_std"):
                parser.link_arguments(
                    "data.classifier_settings", f"model.{name}", itemgetter(name), apply_on="instantiate"
                )
        if self.command == "predict":
            output = "New file for the results, FILE.csv; by default they are printed."
            parser.add_argument("--output", type=str | None, default=None, help=output)
        for action in parser._actions:
            # The integer 1 means one batch, the float 1.0 all of them. With the Trainer's own type, the meaning of `1`
            # depends on import order, because typing.Optional's cache treats Union[int, float] and Union[float, int] as
            # equal. jsonargparse has no public way to change the type of a class's option.
            if action.dest.startswith("trainer.limit_"):
                action._typehint = int | float | None  # type: ignore[attr-defined]

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        prints = [option for option in self.options if option.startswith("--print_config")]  # ends the parsing
        options = [option for option in self.options if option not in prints]
        config = parser.parse_args([self.command, *self.configs, *options])[self.command]
        self.ckpt_path = folder.named_checkpoint(config)
        if config.ckpt_path == "last":
            rank_zero_only(print)(f"Using {self.ckpt_path}", file=sys.stderr)
        configs = self.configs
        if self.ckpt_path is not None and self.command == "fit":
            # The run's own config takes the place of those that are named, so that it ends as it would have.
            configs = ["--config", str(folder.run_folder_of(self.ckpt_path) / "config.yaml")]
        elif self.ckpt_path is not None:
            checkpoint = read_checkpoint(self.ckpt_path, config.model.network)
            configs = ["--config", settings_config(checkpoint), *configs]
        elif self.command != "fit":
            raise UserError(
                f"{self.command} needs trained weights: add --ckpt_path, such as "
                f"`{PROGRAM} {self.command} --ckpt_path runs/optimized/version_0/checkpoints/best.ckpt`."
            )
        super().parse_arguments(parser, [self.command, *configs, *options, *prints])
        if self.ckpt_path is not None and self.command == "fit":
            started = parser.parse_args([self.command, *configs])[self.command]
            for name in ("callbacks", "logger", "plugins"):  # config.yaml holds what a repeated `+=` adds again
                if isinstance(added := self.config.fit.trainer[name], list):
                    self.config.fit.trainer[name] = [each for i, each in enumerate(added) if each not in added[:i]]
            settings.check_resumed(
                settings.run_settings(self.config.fit), settings.run_settings(started), self.ckpt_path
            )
        elif self.ckpt_path is not None:
            settings.check_network(self.config[self.command].model, checkpoint.model, self.ckpt_path)
        # Hidden from the framework, which would load the checkpoint's settings over the command line.
        self.config[self.command].ckpt_path = None

    @override
    def before_instantiate_classes(self) -> None:
        config = self.config[self.command]
        settings.check_trainer(config.trainer)
        if settings.is_one_process(config.trainer):
            # Else read from variables that a shell inside a cluster's job has, too.
            rank_zero_only.rank = 0  # type: ignore[attr-defined]
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        if self.command == "validate" and config.data.validation == "none":
            raise UserError(
                "--data.validation none, from the command line or the checkpoint, leaves no images to validate on. "
                f"Use `{PROGRAM} test`, or --data.validation test or holdout."
            )
        limit = f"limit_{'val' if self.command == 'validate' else self.command}_batches"
        if self.command != "fit" and config.trainer[limit] == 0:
            raise UserError(f"--trainer.{limit} 0 leaves nothing to evaluate. Use a larger value.")
        if self.command == "predict" and config.output is not None:
            config.output = expanded(config.output)
            check_output(Path(config.output), ".csv")
        if self.command != "fit":
            config.trainer.logger = False
            return
        settings.check_fit(config)
        if getattr(rank_zero_only, "rank", 0) == 0 and not config.trainer.fast_dev_run:
            self._prepare_folder()

    def _prepare_folder(self) -> None:
        """Gives the run its folder, with its resolved config: a resumed run starts from it, and `fit --config`, too."""
        config = self.config.fit
        if self.ckpt_path is not None:
            self.run_folder = folder.run_folder_of(self.ckpt_path)
        else:
            config.run_name = folder.run_name(config)
            self.run_folder = folder.claim_run_folder(Path(expanded(config.trainer.default_root_dir)), config.run_name)
            atomic_write(self.run_folder / "config.yaml", self._parser("fit").dump(config, skip_none=False))
        config.trainer.default_root_dir = str(self.run_folder)  # for the files of callbacks, loggers and profilers
        for logger in as_list(config.trainer.logger):
            if "save_dir" in getattr(logger, "init_args", {}) and logger.init_args.save_dir in (None, "."):
                logger.init_args.save_dir = str(self.run_folder)

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        parts = self.config_init[self.command]
        command = settings.command_text([self.command, *self.configs, *self.options])
        if self.command == "fit":
            self.record = RunRecord(self.run_folder, command, settings.run_settings(self.config.fit))
        output = self.record if self.command == "fit" else EvaluationOutput(parts.get("output"))
        arguments = trainer_arguments(parts.trainer, parts.data, output)
        return without_handlers(super().instantiate_trainer(**arguments))

    def fit(self, model: DigitClassifier, datamodule: DigitsDataModule) -> None:
        """Trains; tests the last weights once if nothing was validated on, and completes the record."""
        if self.config.fit.init_from is not None and self.ckpt_path is None:
            rank_zero_only(print)(start_from(model, expanded(self.config.fit.init_from)))
        with nullcontext() if self.run_folder is None else folder.locked(self.run_folder):
            self.trainer.fit(model, datamodule, ckpt_path=self.ckpt_path)
            if self.config.fit.trainer.fast_dev_run:
                print("fast_dev_run: training and validation ran without error. Nothing was written.")
                return
            if datamodule.validation == "none" and datamodule.has_test_labels:
                self.trainer.test(model, datamodule, verbose=False)
            self.record.finish(self.trainer)

    def validate(self, model: DigitClassifier, datamodule: DigitsDataModule) -> None:
        """Evaluates on the validation images."""
        self.trainer.validate(model, datamodule, ckpt_path=self.ckpt_path, verbose=False)

    def test(self, model: DigitClassifier, datamodule: DigitsDataModule) -> None:
        """Evaluates on the test images."""
        self.trainer.test(model, datamodule, ckpt_path=self.ckpt_path, verbose=False)

    def predict(self, model: DigitClassifier, datamodule: DigitsDataModule) -> None:
        """Predicts the classes of the test images."""
        if self.trainer.world_size > 1:
            raise UserError("predict runs in one process. Add --trainer.devices 1.")
        self.trainer.predict(model, datamodule, return_predictions=False, ckpt_path=self.ckpt_path)

    def _explained(self, error: BaseException) -> BaseException | None:
        """The same error in terms of what the user can do; None if it says so itself, or if nothing is known."""
        if isinstance(error.__cause__, UserError):  # in an error of jsonargparse, about linked arguments
            return error.__cause__
        is_set_up = not hasattr(self, "config") or hasattr(self, "trainer")
        if not is_set_up and isinstance(error, ValueError | TypeError | ImportError | MisconfigurationException):
            reason = telling_reason(str(error)) or one_line(str(error))
            return UserError(f"a --trainer option cannot be set up: {reason[:300]}")
        # The framework turns Ctrl-C into SystemExit.
        ended = error.__context__ if isinstance(error, SystemExit) else error
        if not isinstance(ended, KeyboardInterrupt | Terminated):
            return None
        last = Path(self.run_folder or "", "checkpoints", "last.ckpt")
        can_resume = self.run_folder is not None and last.exists()
        return type(ended)(f"To resume, repeat the command with --ckpt_path {last}" if can_resume else "")


def split_configs(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of each --config, and all others."""
    configs: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        if word in ("--config", "-c"):
            configs += [word, next(words, "")]
        else:
            (configs if word.startswith("--config=") else others).append(word)
    return configs, others
