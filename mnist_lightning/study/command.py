"""`python -m mnist_lightning study`: the command line of studies."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.bounds import Threads
from mnist_lightning.options import command_parser, parse_options
from mnist_lightning.options.parser import ShortErrorParser
from mnist_lightning.study.settings import StudySettings

if TYPE_CHECKING:
    from mnist_lightning.study.study import Study


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["--config", "configs/studies/fast.yaml"])`."""
    options = parse_options(_parser(), args)
    settings = {field.name: options.pop(field.name) for field in dataclasses.fields(StudySettings)}
    study(StudySettings(**settings), **options)


def study(
    settings: StudySettings,
    num_processes: Threads | None = None,
    num_threads: Threads = 1,
    ray_address: str | None = None,
) -> None:
    """Train several configs with several seeds each, and write one table.

    Args:
        settings: What to train, and where to write the reports.
        num_processes: Seeds at a time; by default the number of cores / num_threads. A running cluster ignores it.
        num_threads: Threads of each seed. On a CPU, several seeds with one thread each, side by side, are faster.
        ray_address: Ray cluster: `local` starts one on this machine, `auto` finds a running one, or HOST:PORT.

    Raises:
        SystemExit: status 1 if a seed failed, 130 after Ctrl-C.
        UserError: a variant cannot run.
    """
    from mnist_lightning.runs.environment import num_cores
    from mnist_lightning.study.seed_runs import run_here, run_on_ray
    from mnist_lightning.study.study import Engine, Study

    at_a_time = num_processes or max(1, num_cores() // num_threads)
    engine: Engine = partial(run_here, num_processes=at_a_time)
    if ray_address is not None:
        engine = partial(run_on_ray, num_processes=at_a_time, address=ray_address)
    described = Study(**vars(settings))
    try:
        all_succeeded = described.run(engine, num_threads, partial(print, flush=True))
    except KeyboardInterrupt:
        print("\ninterrupted: run the same command to continue", file=sys.stderr)
        sys.exit(130)
    print(f"\n{described.text()}")
    if not all_succeeded:
        sys.exit(1)


def _parser() -> ShortErrorParser:
    parser = command_parser(study, positional=("settings",))
    parser.example_config = "configs/studies/recipe.yaml"
    parser.add_class_arguments(StudySettings, as_group=False)
    return parser


def read_study(config: Path) -> "Study":
    """The study that a YAML file describes."""
    from mnist_lightning.study.study import Study

    options = _parser().parse_args(["--config", str(config)])
    return Study(**{field.name: options[field.name] for field in dataclasses.fields(StudySettings)})
