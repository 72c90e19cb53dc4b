"""`fit`, `validate`, `test` and `predict`: a LightningCLI that checks settings and gives each run a folder."""

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override

import mnist_lightning
from mnist_lightning.bounds import PathText, Threads, bound_trainer_options
from mnist_lightning.callbacks.checkpoints import BestCheckpoint, CheckpointFiles, LastCheckpoint
from mnist_lightning.callbacks.early_stopping import StopAtThreshold
from mnist_lightning.callbacks.finite_loss import FiniteLoss
from mnist_lightning.callbacks.image_losses import ImageLosses
from mnist_lightning.callbacks.interruption import StopOnSignal
from mnist_lightning.callbacks.progress_bar import EpochProgressBar, close_bars
from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.callbacks.training_totals import TrainingTotals
from mnist_lightning.callbacks.weight_average import WeightAverage
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import PROGRAM, CheckpointError, UserError
from mnist_lightning.files import atomic_write, check_output, csv_text, one_line, write_rows
from mnist_lightning.options.checks import (
    check_accelerator,
    check_added,
    check_devices,
    check_fit_settings,
    check_run_name,
    check_trainer,
    checked_seed,
)
from mnist_lightning.options.classes import RunParser, make
from mnist_lightning.options.help_texts import CHECKPOINT_TO_READ, CHECKPOINT_TO_RESUME, SEED, TRAINER_COMMANDS
from mnist_lightning.options.messages import load_framework
from mnist_lightning.options.parser import configs_first, overridden_options
from mnist_lightning.runs.checkpoint import SETTINGS_OF_IMAGES, check_class_names, read_checkpoint
from mnist_lightning.runs.checkpoint_file import CHECKPOINT_HINT
from mnist_lightning.runs.folder import claim_run_folder, locked
from mnist_lightning.runs.predictions import prediction_rows
from mnist_lightning.runs.record import part_of
from mnist_lightning.runs.resuming import (
    is_raised_while_restoring,
    newest_last_checkpoint,
    restore_settings,
    run_folder_of,
    settings_of_run,
    why_nothing_is_left,
)
from mnist_lightning.runs.settings import (
    SETTINGS_OF_A_CHECKPOINT,
    Settings,
    check_limits,
    command_text,
    report_settings,
    value_text,
)
from mnist_lightning.tensorboard.event_files import raise_failed_writes
from mnist_lightning.tensorboard.scalars import ScalarLogger
from mnist_lightning.tensorboard.throughput import Throughput

# Arguments of the Trainer's methods that are no options: checkpoints are always loaded with `weights_only`, and figures
# and predictions are printed once, in one form.
NO_OPTIONS = frozenset({"weights_only", "verbose", "return_predictions"})


def run(args: ArgsType) -> None:
    """Runs one of the framework's commands.

    Raises:
        SystemExit: status 2 from the parser, 1 if another process of the run has ended, 143 after SIGTERM.
        UserError: a setting, file or machine does not fit.
    """
    try:
        CommandLine(args)
    except MisconfigurationException as error:
        raise UserError(str(error)) from None
    except SIGTERMException:
        sys.exit(143)
    except RuntimeError as error:
        # Processes that train together have lost one another; gloo raises no type of its own.
        if not (isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)):
            raise
        print(
            "error: another process of this run has ended or cannot be reached; its output says why. Resume with "
            "--ckpt_path last and the same number of processes.",
            file=sys.stderr,
        )
        sys.exit(1)


class CommandLine(LightningCLI):
    """`fit`, `validate`, `test` and `predict`, for one module and one data module.

    Args:
        args: Command-line arguments; None takes those of the process.
    """

    model: DigitClassifier
    datamodule: DigitsDataModule

    def __init__(self, args: ArgsType) -> None:
        self._args = sys.argv[1:] if args is None else args
        self.command = command_text(self._args)
        self.run_folder: Path | None = None
        self._is_new_folder = False
        self._requested: Settings = {}  # of a run that is resumed: the command's settings, and the first step
        self._first_step: int | None = None
        self._started_on: dict[str, Any] = {}
        super().__init__(
            DigitClassifier,
            DigitsDataModule,
            args=args,
            parser_class=RunParser,
            parser_kwargs={
                "prog": PROGRAM,
                "description": mnist_lightning.__doc__,
                **{name: {"description": TRAINER_COMMANDS[name]} for name in self.subcommands()},
            },
            seed_everything_default=0,
            # before_fit saves the config: the framework's callback would do so for every subcommand.
            save_config_callback=None,
            auto_configure_optimizers=False,
            trainer_defaults={
                "default_root_dir": "runs",
                "num_sanity_val_steps": 0,  # the first epoch ends soon enough to show a broken validation
                "enable_model_summary": False,  # RunRecord prints the table of layers
            },
        )

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static there: it knows no arguments
        """The requested subcommand, or all of them: a parser for each takes a tenth of a second to build.

        The values are arguments of the Trainer's methods that are not options.
        """
        skipped = {name: names | NO_OPTIONS for name, names in LightningCLI.subcommands().items()}
        requested = self._args[:1] if isinstance(self._args, list) else []
        return {name: skipped[name] for name in requested if name in skipped} or skipped

    @override
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":  # other commands take what the checkpoint was trained with
            for name in SETTINGS_OF_IMAGES:
                parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
        if subcommand == "predict":
            parser.add_argument(
                "--output",
                type=PathText | None,
                default=None,
                help="New file for the results: FILE.csv or FILE.json; by default they are printed as CSV.",
            )
        checkpoint = CHECKPOINT_TO_RESUME if subcommand == "fit" else CHECKPOINT_TO_READ
        helps = {"seed_everything": SEED, "ckpt_path": checkpoint}
        for action in parser._actions:  # no public method changes a help text that is already there
            action.help = helps.get(action.dest, action.help)
        return parser

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_name",
            type=str | None,
            default=None,
            help="Name of the run's folder under runs; by default the configs' names, as in optimized-cpu.",
        )
        parser.add_argument(
            "--num_threads",
            type=Threads | None,
            default=None,
            help="CPU threads; by default one per core. 1 is faster on a machine that is busy with other work.",
        )
        parser.add_lightning_class_args(StopAtThreshold, "early_stopping")
        parser.add_lightning_class_args(WeightAverage, "weight_average")
        parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(EpochProgressBar, "progress_bar")
        bound_trainer_options(parser)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=checked_seed)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        args = self._args
        # --print_config ends the parsing, so it waits until the checkpoint's settings are known.
        first = [arg for arg in args if not arg.startswith("--print_config")] if isinstance(args, list) else args
        try:
            super().parse_arguments(parser, first)
        except UnicodeDecodeError:
            raise UserError(
                "--config: the file is not text. Name a YAML file, such as configs/optimized.yaml."
            ) from None
        subcommand = self.config.subcommand
        if isinstance(first, list) and (reordered := configs_first(first)) != first:
            requested = parser.parse_args(reordered)[subcommand]
            for line in overridden_options(first, requested, self.config[subcommand]):
                _note(line)
        if subcommand == "fit":
            if args != first:
                super().parse_arguments(parser, args)
            return
        ckpt_path = self._named_checkpoint()
        if not ckpt_path:
            raise UserError(
                f"{subcommand} needs trained weights: add --ckpt_path, such as "
                f"`{PROGRAM} {subcommand} --ckpt_path runs/optimized/version_0/checkpoints/best.ckpt`."
            )
        # The settings that the checkpoint was trained with are defaults; configs and the command line override them.
        checkpoint = read_checkpoint(ckpt_path)
        settings = {f"model.{name}": value for name, value in checkpoint.model.items()}
        settings |= {f"data.{name}": value for name, value in checkpoint.data.items()}
        known = {name: value for name, value in settings.items() if name in SETTINGS_OF_A_CHECKPOINT}
        self._parser(subcommand).set_defaults(known)
        super().parse_arguments(parser, args)
        if self.config[subcommand].ckpt_path == "last":
            _note(f"--ckpt_path last: {ckpt_path}")
        self.config[subcommand].ckpt_path = ckpt_path
        for name, value in known.items():
            requested = self.config[subcommand][name]
            if requested != value:
                _note(
                    f"--{name} {value_text(requested)}: the checkpoint was trained with {value_text(value)}; using the "
                    "new value"
                )
        if subcommand == "validate" and self.config.validate.data.validation == "none":
            raise UserError(
                "--data.validation none, from the command line or the checkpoint, leaves no images to validate on. "
                f"Use `{PROGRAM} test`, or --data.validation test or holdout."
            )

    def _named_checkpoint(self) -> str | None:
        """The file that --ckpt_path names; `last` is the newest `last.ckpt` of this config's runs."""
        config = self.config[self.config.subcommand]
        if config.ckpt_path != "last":
            path: str | None = config.ckpt_path
            return path
        if config.run_name:
            check_run_name(config.run_name)
        return str(newest_last_checkpoint(Path(config.trainer.default_root_dir), _run_name(config) or "*"))

    @override
    def _parse_ckpt_path(self) -> None:
        """Does nothing: the framework would silently let a checkpoint's settings override the command line.

        The framework has no public switch for it; tests/test_checkpoints.py fails if it comes back.
        """

    @override
    def before_instantiate_classes(self) -> None:
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        check_accelerator(config.trainer.accelerator)
        check_devices(config.trainer.accelerator, config.trainer.devices)
        check_trainer(config.trainer)
        check_limits(config.trainer)
        config.trainer.plugins = _as_list(config.trainer.plugins) or None
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        if subcommand != "fit":
            config.trainer.logger = False
            if subcommand == "predict":
                if config.trainer.devices == "auto":
                    config.trainer.devices = 1  # for all images in one list
                if config.output is not None:
                    check_output(Path(config.output), ".csv", ".json")
            return
        check_fit_settings(config)
        config.ckpt_path = self._named_checkpoint()
        config.run_name = _run_name(config)
        check_run_name(config.run_name)
        if config.ckpt_path:
            path = Path(config.ckpt_path)
            checkpoint = read_checkpoint(path)
            callbacks = {
                "early_stopping": StopAtThreshold,
                "weight_average": WeightAverage,
                "best_checkpoint": BestCheckpoint,
            }
            started = settings_of_run(checkpoint, path, callbacks)
            self._requested, self._first_step = report_settings(config), checkpoint.content["global_step"]
            self._started_on = {name: checkpoint.model[name] for name in SETTINGS_OF_IMAGES}
            for line in restore_settings(config, self._requested, started):
                _note(line)
            epoch, max_epochs = checkpoint.content["epoch"] + 1, config.trainer.max_epochs
            if max_epochs not in (None, -1) and epoch > max_epochs + 1:
                raise UserError(f"--trainer.max_epochs {max_epochs}: the run is in epoch {epoch}. Use a larger number.")

    @override
    def instantiate_classes(self) -> None:
        try:
            self.config_init = self.parser.instantiate_classes(self.config)
        except ValueError as error:  # jsonargparse's, around errors of the data that the model is linked to
            raise error.__cause__ if isinstance(error.__cause__, UserError) else error from None
        self.datamodule = self.config_init[self.subcommand].data
        self.model = self.config_init[self.subcommand].model
        if self.subcommand != "fit":
            check_class_names(self.model.class_names, self.datamodule)
        for name, value in self._started_on.items():
            if (found := getattr(self.model, name)) != value:
                raise UserError(
                    f"--ckpt_path: the run was started on images with {name} {value}, but those of "
                    f"{self.datamodule.title} have {found}. Resume it with the images of its start, or start a new run "
                    "if an earlier version, which normalised them in another way, started it."
                )
        try:
            if self.subcommand == "fit":
                self._prepare_run()
            self.trainer = self.instantiate_trainer()
        except BaseException:
            self._remove_new_folder()
            raise

    def _prepare_run(self) -> None:
        """Finds the data, then the run's folder: without data there is no run, and no folder."""
        config = self.config.fit
        if getattr(rank_zero_only, "rank", 0) == 0 and not config.trainer.fast_dev_run:
            self.datamodule.prepare_data()
            try:
                resumed = run_folder_of(Path(config.ckpt_path)) if config.ckpt_path else None
                self._is_new_folder = resumed is None
                self.run_folder = resumed or claim_run_folder(Path(config.trainer.default_root_dir), config.run_name)
            except OSError as error:
                raise UserError(
                    f"--trainer.default_root_dir {config.trainer.default_root_dir}: no folder can be made there "
                    f"({error.strerror}). Name a directory that can be written."
                ) from None

    def _remove_new_folder(self) -> None:
        """Removes the folder of a run that did not begin."""
        if self.run_folder is not None and self._is_new_folder and not (self.run_folder / "checkpoints").exists():
            shutil.rmtree(self.run_folder, ignore_errors=True)

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        try:
            return self._trainer()
        except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
            raise UserError(
                f"the trainer cannot be set up: {str(error)[:200]}\nChange the --trainer options."
            ) from None

    def _trainer(self) -> Trainer:
        parts = self.config_init[self.subcommand]
        # Processes other than the first write nothing: a folder name and TensorBoard's logger stand in.
        folder = self.run_folder or Path(parts.trainer.default_root_dir, "version_0")
        options = parts.trainer.as_dict()
        if self.run_folder is None and options["logger"] is not False:
            options["logger"] = True
        options = {name: make(f"--trainer.{name}", value, folder) for name, value in options.items()}
        added = _as_list(options["callbacks"])
        check_added(added, _as_list(options["plugins"]))
        loggers: list[Logger] = []
        if self.subcommand == "fit" and options["logger"] is not False and not options["fast_dev_run"]:
            # Events that a killed run wrote after its checkpoint are written again.
            purge_step = None if self._first_step is None else self._first_step + 1
            tensorboard = TensorBoardLogger(
                folder.parent, name="", version=folder.name, default_hp_metric=False, purge_step=purge_step
            )
            loggers = [tensorboard, *([] if options["logger"] is True else _as_list(options["logger"]))]
        callbacks = [*added, *self._callbacks(parts, options, added, has_loggers=bool(loggers))]
        if self.run_folder is not None:
            options["default_root_dir"] = self.run_folder  # for the files of callbacks and profilers
            for callback in callbacks:
                if isinstance(callback, BestCheckpoint | LastCheckpoint):
                    callback.dirpath = str(self.run_folder / "checkpoints")
        trainer = Trainer(
            **options
            | {
                "callbacks": callbacks,
                "logger": loggers or False,
                "plugins": [*_as_list(options["plugins"]), CheckpointFiles(self.run_folder)],
                "enable_autolog_hparams": False,  # would log the module's and the data's settings, but no others
            }
        )
        # With --trainer.max_steps, the framework would end an epoch twice if a run resumes at its end. There is no
        # public switch; tests/test_resume.py, the run that ends within an epoch, fails without this line.
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        return trainer

    def _callbacks(
        self, parts: Namespace, options: dict[str, Any], added: list[Callback], has_loggers: bool
    ) -> list[Callback]:
        """The project's callbacks, in the order in which the Trainer calls them.

        Checkpoints come last: the Trainer calls them after all others. The report comes before the dashboards, some of
        which show it. FiniteLoss comes before the callbacks that would report or save a bad loss.

        Args:
            parts: the instantiated options.
            options: the Trainer's options.
            added: the user's callbacks; a progress bar among them replaces the project's.
            has_loggers: whether scalars and dashboards are logged.
        """
        bars: list[Callback] = [make("progress_bar", parts.progress_bar, Path())]
        if options["enable_progress_bar"] is False or any(isinstance(callback, ProgressBar) for callback in added):
            bars = []
        if self.subcommand != "fit":
            return [*bars, FiniteLoss()]
        stop, average, best, last = (
            make(name, parts[name], Path())
            for name in ("early_stopping", "weight_average", "best_checkpoint", "last_checkpoint")
        )
        self.run_report = RunRecord(self.run_folder, self.command, report_settings(self.config.fit))
        writes_checkpoints = options["enable_checkpointing"] is not False and not options["fast_dev_run"]
        dashboards: list[Callback] = []
        if has_loggers:
            from mnist_lightning.tensorboard.all import tensorboard_callbacks

            dashboards = tensorboard_callbacks(self.run_report, logs_settings=options["enable_autolog_hparams"])
        return [
            *(stop, *([] if average.decay is None else [average]), *bars),
            *([ImageLosses()] if parts.data.hard_fraction < 1 else []),
            *(FiniteLoss(), TrainingTotals(), ScalarLogger(), Throughput(), self.run_report, *dashboards),
            *([best, last, StopOnSignal(last)] if writes_checkpoints else []),
        ]

    @override
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        # after_validate and after_test print the figures.
        silent = {"verbose": False} if subcommand in ("validate", "test") else {}
        return super()._prepare_subcommand_kwargs(subcommand) | silent

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        try:
            self._run(subcommand)
        except BaseException:
            close_bars()
            if subcommand == "fit" and self.trainer.global_step == (self._first_step or 0):
                self._remove_new_folder()
            raise

    def _run(self, subcommand: str) -> None:
        try:
            with locked(self.run_folder), raise_failed_writes():
                super()._run_subcommand(subcommand)
        except OSError:
            if self.run_folder is None or self.run_folder.is_dir():
                raise
            raise UserError(
                f"{self.run_folder} was deleted or moved while the run was training. Start the run again; if the "
                "folder was moved, resume with --ckpt_path and the last.ckpt in its new place."
            ) from None
        except ModuleNotFoundError as error:
            raise UserError(
                f"a --trainer option needs a package that is not installed: {error}. Install it, or omit the option."
            ) from None
        except Exception as error:
            path = self.config[subcommand].ckpt_path
            if "loading state_dict" in str(error):
                raise CheckpointError(
                    f"--ckpt_path {path}: its weights do not fit the network of these settings. Omit --config and the "
                    "options --model.network, channels, batch_norm and head: the checkpoint stores its own."
                ) from None
            if isinstance(error, UserError) or not is_raised_while_restoring(error):
                raise
            raise CheckpointError(
                f"--ckpt_path {path}: a run cannot resume from it ({type(error).__name__}: "
                f"{one_line(str(error))[:200]}). {CHECKPOINT_HINT}"
            ) from None
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # which the framework ends silently
                raise KeyboardInterrupt from None
            raise

    def before_fit(self) -> None:
        """Saves the resolved config, which `fit --config` accepts."""
        if self.run_folder is not None and not (self.run_folder / "config.yaml").exists():
            config = self.config.fit.clone()
            config.ckpt_path = None  # a run of this config starts at the beginning
            atomic_write(self.run_folder / "config.yaml", self._parser("fit").dump(config, skip_none=False))

    def after_fit(self) -> None:
        """Tests the last weights once if nothing was validated on, and completes the report."""
        if self.config.fit.trainer.fast_dev_run:
            _note("fast_dev_run: training and validation ran without error. Nothing was written.")
            return
        if self.datamodule.validation == "none":
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self.run_report.finish(self.trainer, self.model)
        if self._first_step == self.trainer.global_step:
            _note(why_nothing_is_left(self.run_report.report, self._requested))

    def after_validate(self) -> None:
        """Prints accuracy and loss."""
        self._print_evaluation("val", self.datamodule.validation_title)

    def after_test(self) -> None:
        """Prints accuracy and loss."""
        self._print_evaluation("test", "test images")

    def before_predict(self) -> None:
        """Refuses several processes, of which each would print its share of the images."""
        if self.trainer.world_size > 1:
            raise UserError(
                f"predict runs in one process, but the --trainer options give {self.trainer.world_size}. Use "
                "--trainer.devices 1 and --trainer.num_nodes 1."
            )

    def after_predict(self) -> None:
        """Writes a row per image to --output, or as CSV to standard output."""
        rows = prediction_rows(self.trainer.predict_loop.predictions, self.datamodule.title, self.model.class_names)
        if self.config.predict.output is None:
            sys.stdout.write(csv_text(rows))
        else:
            write_rows(Path(self.config.predict.output), rows)

    @rank_zero_only
    def _print_evaluation(self, stage: str, images: str) -> None:
        figures = self.trainer.callback_metrics
        limit = self.trainer.limit_test_batches if stage == "test" else self.trainer.limit_val_batches
        if f"{stage}/accuracy" not in figures:
            raise UserError(f"--trainer.limit_{stage}_batches {limit} leaves nothing to evaluate. Use a larger value.")
        accuracy, loss = float(figures[f"{stage}/accuracy"]), float(figures[f"{stage}/loss"])
        line = f"{self.datamodule.title}, {part_of(limit)}{images}: accuracy {accuracy:.2%}, loss {loss:.4f}"
        if (single_view := figures.get(f"{stage}/single_view_accuracy")) is not None:
            line += f"; {float(single_view):.2%} without test-time augmentation"
        print(line, flush=True)


def _run_name(config: Any) -> str | None:
    """`--run_name`, or the names of all configs, as in `optimized-cpu`; None without either."""
    return config.run_name or "-".join(Path(str(path)).stem for path in config.config or []) or None


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class NotRun(CommandLine):
    """Parses and checks a command line without running it."""

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
    """The settings that the report of a `fit` with these arguments would hold.

    Raises:
        SystemExit: the parser refuses them; it has printed why.
        UserError: they do not fit together.
    """
    with warnings.catch_warnings():
        load_framework()
        config = NotRun(args).config.fit
    return report_settings(config)


@rank_zero_only
def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)
