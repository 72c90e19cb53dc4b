"""`fit`, `validate`, `test` and `predict`: LightningCLI with a folder for every run, and checked settings."""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.checkpoints import BestCheckpoint, CheckpointFiles, LastCheckpoint, load_checkpoint
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.cli_parser import ShortErrorParser
from mnist_lightning.dashboards.scalars import ScalarLogger
from mnist_lightning.dashboards.throughput import Throughput
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.early_stopping import StopAtThreshold
from mnist_lightning.errors import CheckpointError, SettingError
from mnist_lightning.finite_loss import FiniteLoss
from mnist_lightning.framework_messages import quieten
from mnist_lightning.interruption import StopOnSignal
from mnist_lightning.option_types import TRAINER_TYPES, Threads
from mnist_lightning.output_files import csv_text, write_rows
from mnist_lightning.own_digits.command import add_predict_options, check_predict_options, read_images
from mnist_lightning.predictions import prediction_rows
from mnist_lightning.progress_bar import EpochProgressBar
from mnist_lightning.resuming import Settings, newest_last_checkpoint, run_folder_of, settings_of_run, take_over
from mnist_lightning.run_folder import claim_run_folder
from mnist_lightning.run_report import RunReport, is_part
from mnist_lightning.run_settings import SETTINGS_OF_A_CHECKPOINT, command_text, report_settings
from mnist_lightning.setting_checks import (
    PROGRAM,
    check_accelerator,
    check_devices,
    check_fit_settings,
    check_groups,
    check_holdout,
    check_limits,
    check_run_name,
    checked_seed,
)
from mnist_lightning.weight_averaging import WeightAverage


class CommandLine(LightningCLI):
    """`fit`, `validate`, `test` and `predict`, for one module and one data module."""

    model: DigitClassifier
    datamodule: DigitsDataModule

    def __init__(self, args: ArgsType) -> None:
        self.command = command_text(sys.argv[1:] if args is None else args)
        self.run_folder: Path | None = None
        super().__init__(
            DigitClassifier,
            DigitsDataModule,
            args=args,
            parser_class=ShortErrorParser,
            parser_kwargs={
                "prog": PROGRAM,
                "epilog": f"`{PROGRAM} study --help`: several configs over several seeds, in one table. "
                f"`{PROGRAM} report --help`: the figures of a finished run. "
                f"`{PROGRAM} export --help`: a trained network as one file. "
                f"`{PROGRAM} demo --help`: a page to draw on.",
            },
            seed_everything_default=0,
            # before_fit saves the config: the framework's callback would do so for every subcommand.
            save_config_callback=None,
            auto_configure_optimizers=False,
            trainer_defaults={
                "default_root_dir": "runs",
                "num_sanity_val_steps": 0,  # the first epoch ends soon enough to show a broken validation
                "enable_model_summary": False,  # RunReport prints the table of layers
                "use_distributed_sampler": False,  # the samplers in batches.py share out among processes, exactly
            },
        )

    @staticmethod
    @override
    def subcommands() -> dict[str, set[str]]:
        """What an option would be of no use for; a checkpoint is never loaded but with `weights_only`."""
        return {name: skipped | {"weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    @override
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            add_predict_options(parser)
        return parser

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_name", type=str | None, default=None, help="Folder under runs; by default the first config's name."
        )
        parser.add_argument(
            "--num_threads",
            type=Threads | None,
            default=None,
            help="Threads of this process on the CPU; by default one for each core. Beside other work, 1 is faster.",
        )
        parser.add_lightning_class_args(StopAtThreshold, "early_stopping")
        parser.add_lightning_class_args(WeightAverage, "weight_average")
        parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(EpochProgressBar, "progress_bar")
        for action in parser._actions:
            if (name := action.dest.removeprefix("trainer.")) in TRAINER_TYPES:
                action._typehint = TRAINER_TYPES[name]  # type: ignore[attr-defined]
        parser.link_arguments("seed_everything", "data.seed", compute_fn=checked_seed)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        args = sys.argv[1:] if args is None else args
        # --print_config ends the parsing, and has to wait until the checkpoint's settings are known.
        first = [arg for arg in args if not arg.startswith("--print_config")] if isinstance(args, list) else args
        try:
            super().parse_arguments(parser, first)
        except UnicodeDecodeError:
            raise SettingError(
                "--config: the file is not text. Give it a YAML file, such as configs/optimized.yaml."
            ) from None
        subcommand = self.config.subcommand
        ckpt_path = self._named_checkpoint()
        if subcommand == "fit":
            if args != first:
                super().parse_arguments(parser, args)
            return
        if not ckpt_path:
            raise SettingError(
                f"{subcommand} needs trained weights: add --ckpt_path, such as "
                f"`{PROGRAM} {subcommand} --ckpt_path runs/optimized/version_0/checkpoints/best.ckpt`."
            )
        # What the checkpoint was trained with is the default; the command line and configs go before it.
        checkpoint = load_checkpoint(ckpt_path)
        settings = {f"model.{name}": value for name, value in checkpoint["hyper_parameters"].items()}
        settings |= {f"data.{name}": value for name, value in checkpoint["datamodule_hyper_parameters"].items()}
        known = {name: value for name, value in settings.items() if name in SETTINGS_OF_A_CHECKPOINT}
        self._parser(subcommand).set_defaults(known)
        super().parse_arguments(parser, args)
        self.config[subcommand].ckpt_path = ckpt_path
        for name, value in known.items():
            asked = self.config[subcommand][name]
            if asked != value:
                _tell(f"--{name} {asked}: the checkpoint was trained with {value}; what is asked now is done")
        if subcommand == "validate" and self.config.validate.data.validation == "none":
            raise SettingError(
                "--data.validation none, which the checkpoint was trained with or the command asks for, leaves nothing "
                f"to validate on. Use `{PROGRAM} test`, or --data.validation test or holdout."
            )

    def _named_checkpoint(self) -> str | None:
        """The file that --ckpt_path names; `last` is the newest `last.ckpt` of this config's runs."""
        config = self.config[self.config.subcommand]
        if config.ckpt_path != "last":
            path: str | None = config.ckpt_path
            return path
        name = config.run_name or (Path(str(config.config[0])).stem if config.config else "*")
        return str(newest_last_checkpoint(Path(config.trainer.default_root_dir), name))

    @override
    def _parse_ckpt_path(self) -> None:
        """Does nothing: the framework would put a checkpoint's settings above the command line, without a word."""

    @override
    def before_instantiate_classes(self) -> None:
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        check_groups(config)
        check_accelerator(config.trainer.accelerator)
        check_devices(config.trainer.accelerator, config.trainer.devices)
        check_limits(config.trainer)
        check_holdout(config.data)
        if config.trainer.plugins is not None and not isinstance(config.trainer.plugins, list):
            config.trainer.plugins = [config.trainer.plugins]
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        if subcommand != "fit":
            config.trainer.logger = False
            if "verbose" in config:
                config.verbose = False  # after_test and after_validate print the figures
            if "return_predictions" in config:
                config.return_predictions = True  # after_predict writes them
            if subcommand == "predict":
                check_predict_options(config)
            return
        check_fit_settings(config)
        config.ckpt_path = self._named_checkpoint()
        if config.run_name is None:
            config.run_name = Path(str(config.config[0])).stem
        check_run_name(config.run_name)
        if config.ckpt_path:
            path = Path(config.ckpt_path)
            started = settings_of_run(load_checkpoint(path), path)
            for line in take_over(config, report_settings(config), started):
                _tell(line)

    @override
    def instantiate_classes(self) -> None:
        if not self._reads_own_images():
            super().instantiate_classes()

    def _reads_own_images(self) -> bool:
        """Whether `predict --images` asks for what needs neither the Trainer nor the data set."""
        return self.subcommand == "predict" and self.config.predict.images is not None

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config[self.config.subcommand]
        callbacks: list[Callback] = []
        if self.subcommand == "fit":
            if getattr(rank_zero_only, "rank", 0) == 0 and not config.trainer.fast_dev_run:
                self.datamodule.prepare_data()  # without data there is no run, and no folder
                try:
                    resumed = run_folder_of(Path(config.ckpt_path)) if config.ckpt_path else None
                    self.run_folder = resumed or claim_run_folder(
                        Path(config.trainer.default_root_dir), config.run_name
                    )
                except OSError as error:
                    raise SettingError(
                        f"--trainer.default_root_dir {config.trainer.default_root_dir}: no folder can be made there "
                        f"({error.strerror}). Name a directory that can be written."
                    ) from None
            if config.trainer.logger in (None, True):
                kwargs["logger"] = self._tensorboard_logger(config)
            self.run_report = RunReport(self.run_folder, self.command, report_settings(config))
            callbacks = [FiniteLoss(), ScalarLogger(), Throughput(), self.run_report]
        self.trainer_defaults["callbacks"] = callbacks
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
            if self.run_folder is not None and not any(self.run_folder.iterdir()):
                self.run_folder.rmdir()
            raise SettingError(
                f"the trainer cannot be set up: {str(error)[:200]}\nChange the --trainer options."
            ) from None
        if self.run_folder is not None:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, BestCheckpoint | LastCheckpoint):
                    callback.dirpath = str(self.run_folder / "checkpoints")
        return trainer

    @override
    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        # The framework refuses a callback whose kind the trainer is told to do without.
        if config["enable_progress_bar"] is False or config["barebones"]:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
        if config["enable_checkpointing"] is False or config["barebones"]:
            callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        if self.subcommand == "fit" and self.config.fit.weight_average.decay is None:
            callbacks = [callback for callback in callbacks if not isinstance(callback, WeightAverage)]
        loggers = config["logger"] if isinstance(config["logger"], list) else [config["logger"]]
        if self.subcommand == "fit" and any(isinstance(logger, TensorBoardLogger) for logger in loggers):
            from mnist_lightning.dashboards.all import tensorboard_callbacks

            self.trainer_defaults["callbacks"] += tensorboard_callbacks(self.run_report)
        config["plugins"] = [*(config["plugins"] or []), CheckpointFiles()]
        callbacks += [StopOnSignal(callback) for callback in callbacks if isinstance(callback, LastCheckpoint)]
        return super()._instantiate_trainer(config, callbacks)

    def _tensorboard_logger(self, config: Any) -> TensorBoardLogger | bool:
        if config.trainer.fast_dev_run:
            return False
        # Ranks above 0 write nothing; the name only has to be there.
        folder = self.run_folder or Path(config.trainer.default_root_dir) / config.run_name / "version_0"
        # Events that a killed run wrote after its checkpoint are written anew.
        purge_step = load_checkpoint(config.ckpt_path)["global_step"] + 1 if config.ckpt_path else None
        return TensorBoardLogger(
            folder.parent, name="", version=folder.name, default_hp_metric=False, purge_step=purge_step
        )

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        try:
            if self._reads_own_images():
                self._read_own_images()
            else:
                super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            raise CheckpointError(
                "--ckpt_path: the checkpoint holds the weights of another network than --model.network asks for. "
                "Leave --model.network and its config away: the checkpoint knows its own."
            ) from None

    def _read_own_images(self) -> None:
        config = self.config.predict
        classifier = DigitClassifier(**config.model).float().eval()
        classifier.load_state_dict(load_checkpoint(config.ckpt_path)["state_dict"])
        if not read_images(classifier, config):
            sys.exit(1)

    def before_fit(self) -> None:
        """Saves the resolved config, which runs again as `fit --config`."""
        if self.run_folder is not None and not (self.run_folder / "config.yaml").exists():
            config = self.config.fit.clone()
            config.ckpt_path = None  # a run that starts from this config starts at the beginning
            self._parser("fit").save(config, self.run_folder / "config.yaml", skip_none=False)

    def after_fit(self) -> None:
        """Tests the last weights once, where no image was held out to validate on, and ends the report."""
        if self.datamodule.validation == "none" and not self.config.fit.trainer.fast_dev_run:
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        assert self.run_report is not None
        self.run_report.finish(self.trainer, self.model)

    def after_validate(self) -> None:
        """Prints the figures."""
        self._print_evaluation("val", self.datamodule.validation_title)

    def after_test(self) -> None:
        """Prints the figures."""
        self._print_evaluation("test", "test images")

    def before_predict(self) -> None:
        """Refuses to write one file from several processes."""
        if self.config.predict.output is not None and self.trainer.world_size > 1:
            raise SettingError(
                f"--output {self.config.predict.output}: of {self.trainer.world_size} processes each has a share of "
                "the images. Use --trainer.devices 1."
            )

    def after_predict(self) -> None:
        """Writes a line per image to --output, or as CSV to standard output."""
        rows = prediction_rows(self.trainer.predict_loop.predictions, self.datamodule.title)
        if self.config.predict.output is None:
            sys.stdout.write(csv_text(rows))
        else:
            write_rows(Path(self.config.predict.output), rows)

    @rank_zero_only
    def _print_evaluation(self, stage: str, images: str) -> None:
        figures = self.trainer.callback_metrics
        limit = self.trainer.limit_test_batches if stage == "test" else self.trainer.limit_val_batches
        if f"{stage}/accuracy" not in figures:
            raise SettingError(f"--trainer.limit_{stage}_batches {limit} leaves nothing to evaluate. Use a larger one.")
        if is_part(limit):
            images = f"part of the {images}"
        accuracy, loss = float(figures[f"{stage}/accuracy"]), float(figures[f"{stage}/loss"])
        line = f"{self.datamodule.title}, {images}: accuracy {accuracy:.2%}, loss {loss:.4f}"
        if (single_view := figures.get(f"{stage}/single_view_accuracy")) is not None:
            line += f"; {float(single_view):.2%} without test-time augmentation"
        print(line, flush=True)


class NotRun(CommandLine):
    """Parses and checks a command line, and does no more."""

    @override
    def _set_seed(self) -> None:
        pass

    @override
    def instantiate_classes(self) -> None:
        pass

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        pass


def resolved_settings(args: list[str]) -> Settings:
    """The settings that a `fit` with these arguments would report, in the report's own form, without running it.

    Raises:
        SystemExit: the parser refuses them; it has said why.
        SettingError: they cannot work.
    """
    with warnings.catch_warnings():
        quieten()
        config = NotRun(args).config.fit
    return report_settings(config)


@rank_zero_only
def _tell(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)
