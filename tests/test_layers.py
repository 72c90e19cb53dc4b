"""The layers of the package: each imports only from earlier layers, and there are no import cycles."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.runs import PROJECT

PACKAGE = PROJECT / "mnist_lightning"
LAYERS = [
    ["errors", "files"],
    ["options"],
    ["data", "fast", "network"],
    ["recipe", "classifier", "datamodule"],
    ["runs"],
    ["figures"],
    ["callbacks"],
    ["tensorboard"],
    ["trainer"],
    ["cli"],
    ["study", "report", "read", "export"],
    ["main", "__main__"],
]
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, anywhere in the file."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {f"{node.module}.{name.name}" for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
    names |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    parts = {name.removeprefix("mnist_lightning.") for name in names if name.startswith("mnist_lightning.")}
    return {part if part in MODULES else part.rpartition(".")[0] for part in parts} & MODULES.keys()


def layer_of(module: str) -> int:
    """The index in LAYERS of the longest prefix of the module's name."""
    places = {name: place for place, names in enumerate(LAYERS) for name in names}
    return places[max((name for name in places if f"{module}.".startswith(f"{name}.")), key=len)]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__" and not name.endswith(".__init__")])
def test_a_module_imports_only_from_its_own_layer_and_earlier_ones(module: str) -> None:
    assert [name for name in imported(MODULES[module]) if layer_of(name) > layer_of(module)] == []


def test_there_are_no_import_cycles() -> None:
    TopologicalSorter({name: imported(path) for name, path in MODULES.items() if name != "__init__"}).prepare()


def test_a_command_can_be_deleted_without_the_others() -> None:
    commands = LAYERS[-2]
    pairs = {
        (name.partition(".")[0], other.partition(".")[0])
        for name, path in MODULES.items()
        for other in imported(path)
        if {name.partition(".")[0], other.partition(".")[0]} <= {*commands}
    }
    assert all(name == other for name, other in pairs)
