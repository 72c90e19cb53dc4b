"""Random and malformed command lines and configs: none causes a traceback."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from mnist_lightning import cli
from mnist_lightning.cli import NotRun
from mnist_lightning.main import main

OFFLINE = ["fit", "--config", "configs/offline.yaml"]

NASTY = [
    *(
        "",
        " ",
        "null",
        "true",
        "-1",
        "0",
        "1",
        "1.0",
        "0.5",
        "1e400",
        "-inf",
        "nan",
        "9" * 400,
        "[]",
        "{}",
        "[1, a]",
        "{a: 1}",
    ),
    *("os.system", "{class_path: os.system, init_args: {command: 'false'}}", "[{class_path: subprocess.Popen}]"),
    *(
        "!!python/object/apply:os.system ['false']",
        "&a [*a]",
        "*a",
        "{? [1] : 2}",
        "a: b: c",
        "\t",
        "'",
        "%",
        "é",
        "🤷",
        "\udc80",
    ),
    *(
        "..",
        "/",
        "/dev/null",
        "configs",
        "configs/offline.yaml",
        "README.md",
        "ModelCheckpoint",
        "lightning.pytorch.Trainer",
    ),
]
# These start other work, or change this process for later tests.
EXCLUDED = ("num_threads", "ckpt_path", "trainer.profiler", "trainer.strategy", "trainer.num_nodes", "trainer.devices")


def option_names() -> list[str]:
    """Dotted names of `fit`'s options, sorted."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([*OFFLINE, "--print_config"])
    names: set[str] = set()

    def collect(prefix: str, value: object) -> None:
        if prefix:
            names.add(prefix)
        if isinstance(value, dict):
            for key, part in value.items():
                collect(f"{prefix}.{key}" if prefix else key, part)

    collect("", yaml.safe_load(output.getvalue()))
    return sorted(names - set(EXCLUDED))


def values() -> st.SearchStrategy[str]:
    """An option's value as typed; a process argument cannot contain a zero byte."""
    return st.one_of(
        st.sampled_from(NASTY),
        st.integers().map(str),
        st.floats().map(str),
        st.text(st.characters(exclude_characters="\0"), max_size=20),
    )


def command_lines(names: list[str]) -> st.SearchStrategy[list[str]]:
    """A subcommand, sometimes a config, and some options; option names may lack their last letter."""
    name = st.one_of(st.sampled_from(names), st.sampled_from(names).map(lambda name: name[:-1]), values())
    option = st.tuples(name.map("--{}".format), values()).map(list) | values().map(lambda value: [value])
    options = st.lists(option, max_size=3).map(lambda parts: [word for part in parts for word in part])
    begin = st.sampled_from([OFFLINE, OFFLINE, ["fit"], ["validate"], ["test"], ["predict"], ["study"], [], ["fi"]])
    return st.tuples(begin, options).map(lambda parts: [*parts[0], *parts[1]])


def configs(names: list[str]) -> st.SearchStrategy[bytes]:
    """A file for --config: valid and invalid names, correctly or incorrectly nested; or not YAML at all."""
    words = sorted({word for name in names for word in name.split(".")})
    scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(NASTY)
    key = st.sampled_from(words) | st.sampled_from(names) | st.text(max_size=10) | st.integers()
    tree = st.recursive(scalar, lambda part: st.lists(part, max_size=3) | st.dictionaries(key, part, max_size=4))
    groups = st.sampled_from(["model", "data", "trainer", "early_stopping", "weight_average", "seed_everything"])
    shaped = st.dictionaries(groups, st.dictionaries(st.sampled_from(words), tree, max_size=3) | scalar, max_size=3)
    text = (shaped | tree).map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace"))
    return text | st.binary(max_size=50) | st.sampled_from(NASTY).map(lambda value: value.encode("utf-8", "replace"))


def check_outcome(args: list[str]) -> None:
    """Runs a command.

    Raises:
        AssertionError: the command neither succeeded nor ended with one error and status 2.
    """
    error = io.StringIO()
    status: object = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            main(args)
        except SystemExit as ended:
            status = ended.code or 0
    assert status in (0, 2), (args, status, error.getvalue())
    if status == 2:
        assert "error: " in error.getvalue(), (args, error.getvalue())
    assert "Traceback" not in error.getvalue(), (args, error.getvalue())


def _try(num_times: int, strategy: st.SearchStrategy[object], check: Callable[[object], None], seed: int) -> int:
    """Checks up to `num_times` examples; returns their number."""
    tried = 0

    def count(example: object) -> None:
        nonlocal tried
        tried += 1
        check(example)

    limits = settings(max_examples=num_times, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seeded(seed)(limits(given(strategy)(count)))()
    return tried


def try_command_lines(num_times: int, seed: int) -> int:
    """Parses random command lines, and checks the accepted ones as far as possible without training."""
    with mock.patch.object(cli, "CommandLine", NotRun), mock.patch.object(torch, "set_num_threads"):
        return _try(num_times, command_lines(option_names()), check_outcome, seed)  # type: ignore[arg-type]


def try_configs(num_times: int, seed: int) -> int:
    """Parses random configs, alone and after `offline.yaml`."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "odd.yaml"

        def check(content: object) -> None:
            assert isinstance(content, bytes)
            path.write_bytes(content)
            check_outcome(["fit", "--config", str(path)])
            check_outcome([*OFFLINE, "--config", str(path)])

        with mock.patch.object(cli, "CommandLine", NotRun), mock.patch.object(torch, "set_num_threads"):
            return _try(num_times, configs(option_names()), check, seed)


def try_runs(num_times: int, seed: int) -> int:
    """Runs one step with one of the project's options changed, to find values that fail only when used."""
    names = [
        name for name in option_names() if name.startswith(("model.", "data.", "early_", "weight_", "best_", "last_"))
    ]
    names.remove("data.dataset")  # the other set takes seconds to read
    numbers = st.sampled_from(["0", "1", "2", "0.5", "1e-30", "99", "1e9", "true", "false", "null"])
    example = st.tuples(st.sampled_from(names), numbers)

    def check(option: object) -> None:
        assert isinstance(option, tuple)
        name, value = option
        check_outcome([*OFFLINE, "--trainer.fast_dev_run", "true", f"--{name}", value])

    return _try(num_times, example, check, seed)
