"""`python -m mnist_lightning study`: the command line of studies."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jsonargparse import Namespace

from mnist_lightning.cli_parser import ShortErrorParser
from mnist_lightning.command_parser import command_parser
from mnist_lightning.environment import num_cores
from mnist_lightning.option_types import Threads
from mnist_lightning.study.seed_runs import run_here, run_on_ray
from mnist_lightning.study.study import Engine, Study


def run_study(args: Sequence[str]) -> None:
    """Runs a study: `run_study(["--config", "configs/studies/fast.yaml"])`.

    Raises:
        SystemExit: status 1 if a seed failed, 2 after a mistake of the user's, 130 after Ctrl-C.
        SettingError: a variant cannot run.
    """
    options = _parser().parse_args(list(args))
    study = _study(options)
    num_processes = options.num_processes or max(1, num_cores() // options.num_threads)
    engine: Engine = partial(run_here, num_processes=num_processes)
    if options.ray_address is not None:
        engine = partial(run_on_ray, num_processes=num_processes, address=options.ray_address)
    try:
        all_well = study.run(engine, options.num_threads, partial(print, flush=True))
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    print(f"\n{study.text()}")
    if not all_well:
        sys.exit(1)


def read_study(config: Path) -> Study:
    """The study that a YAML file describes."""
    return _study(_parser().parse_args(["--config", str(config)]))


def _study(options: Namespace) -> Study:
    return Study(**{field.name: options[field.name] for field in dataclasses.fields(Study)})


def _parser() -> ShortErrorParser:
    parser = command_parser("study", "Run several configs over several seeds.")
    parser.example_config = "configs/studies/recipe.yaml"
    parser.add_argument("--config", action="config", help="YAML file that sets the options below.")
    parser.add_class_arguments(Study)
    parser.add_argument(
        "--num_processes",
        type=Threads | None,
        default=None,
        help="Seeds at a time; by default as many as the cores have threads for. A running cluster has its own.",
    )
    parser.add_argument(
        "--num_threads",
        type=Threads,
        default=1,
        help="Threads of each seed. On a CPU, several seeds of one thread are faster than one of several.",
    )
    parser.add_argument(
        "--ray_address",
        type=str | None,
        default=None,
        help="Run on a Ray cluster: `local` starts one on this machine, `auto` finds one, or name HOST:PORT.",
    )
    return parser
