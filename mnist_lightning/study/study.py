"""A study: variants of a training, each over several seeds, in one folder that is its memory."""

import json
import re
import shlex
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lightning.bounds import Count, PathText
from mnist_lightning.cli import resolved_settings
from mnist_lightning.errors import PROGRAM, SettingError
from mnist_lightning.runs.files import atomic_write
from mnist_lightning.runs.report import report_markdown
from mnist_lightning.runs.settings import command_text
from mnist_lightning.study.seed_runs import Outcome, SeedRun, Start
from mnist_lightning.study.summary import (
    Report,
    Row,
    add_differences,
    csv_text,
    draw,
    last_accuracy,
    markdown_table,
    single_view_text,
    summarise,
)

Engine = Callable[[list[SeedRun]], Generator[Start | Outcome]]


@dataclass(frozen=True)
class Study:
    """Runs `fit` for each variant and seed, and writes one table of them all.

    Args:
        variants: What to compare: a name for each, and what follows `fit` on its command line.
        output: Directory for the reports of the seeds, the table and the chart. What is finished there stays as it is.
        title: Heading of the table.
        fit: What follows on the command line of every variant.
        seeds: Number of seeds; they are 0, 1, 2, …
        compare: Compare each variant with the first.
        note: What a reader of the table should know, such as how the settings were chosen.
    """

    variants: dict[str, str]
    output: PathText
    title: str = "Study"
    fit: str = ""
    seeds: Count = 3
    compare: bool = False
    note: str = ""

    def args(self, variant: str) -> tuple[str, ...]:
        """What follows `fit`.

        Raises:
            SettingError: a quotation mark is not closed.
        """
        try:
            return (*shlex.split(self.variants[variant]), *shlex.split(self.fit))
        except ValueError as error:
            raise SettingError(f"--variants.{variant} or --fit: {error}. Write it as in a shell.") from None

    def report_path(self, variant: str, seed: int) -> Path:
        """Where the report of a finished seed lies; of one that failed there is its error, beside it."""
        folder = re.sub(r"\W+", "_", variant).strip("_").lower()
        return Path(self.output) / folder / f"seed_{seed}.json"

    def reports(self, variant: str) -> dict[int, Report]:
        """The reports of the finished seeds."""
        paths = {seed: self.report_path(variant, seed) for seed in range(self.seeds)}
        return {seed: json.loads(path.read_text(encoding="utf-8")) for seed, path in paths.items() if path.exists()}

    def rows(self) -> list[Row]:
        """The table's rows, one a variant."""
        rows = []
        for variant in self.variants:
            reports = self.reports(variant)
            failed = [seed for seed in range(self.seeds) if _error_path(self.report_path(variant, seed)).exists()]
            rows.append(summarise(variant, list(reports.values()), failed))
        if self.compare:
            add_differences(rows)
        return rows

    def text(self) -> str:
        """The page: the table, how it was made, and what failed."""
        rows = self.rows()
        measured = sorted({row["measured_on"] for row in rows if row["num_seeds"]})
        measured_text = measured[0] if len(measured) == 1 else "what is named below" if measured else "nothing yet"
        method = (
            f"Accuracy at the last epoch on {measured_text}; interval of the mean by Student's t"
            f"{', differences by Welch, both' if self.compare else ''} at 95 %; seconds: median of training. "
        )
        lines = [f"# {self.title}", "", markdown_table(rows), "", method + self.provenance(), ""]
        lines += [self.note, ""] if self.note else []
        for row in rows:
            command = f"{PROGRAM} fit {shlex.join(self.args(row['variant']))}"
            images = f", on {row['measured_on']}" if len(measured) > 1 and row["num_seeds"] else ""
            lines.append(f"- {row['variant']}: `{command}`{images}{single_view_text(row)}")
        for variant in self.variants:
            for seed in range(self.seeds):
                path = _error_path(self.report_path(variant, seed))
                if path.exists():
                    error = path.read_text(encoding="utf-8").strip()
                    lines += ["", f"{variant}, seed {seed} failed:", "", "```", error, "```"]
        return "\n".join([*lines, "", "![accuracies](study.png)", ""])

    def provenance(self) -> str:
        """What the finished seeds ran on, with what, and when."""
        reports = [report for variant in self.variants for report in self.reports(variant).values()]
        if not reports:
            return "No seed has ended yet."
        machines = sorted({_machine_text(report["hardware"], report["versions"]) for report in reports})
        dates = sorted({report["date"] for report in reports})
        days = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        return f"{'; '.join([*machines, days])}."

    def write(self) -> None:
        """Writes the table as Markdown, CSV and JSON, and the chart."""
        rows = self.rows()
        folder = Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "README.md", self.text())
        atomic_write(folder / "study.csv", csv_text(rows))
        page = {"title": self.title, "rows": rows}
        atomic_write(folder / "study.json", json.dumps(page, indent=2, ensure_ascii=False) + "\n")
        draw(rows, folder / "study.png")

    def check(self) -> None:
        """Tries every variant's command line, and whether the finished seeds were made with it.

        Raises:
            SettingError: a variant would not run, two share a folder, or a finished seed had other settings.
        """
        folders: dict[Path, str] = {}
        for variant in self.variants:
            folder = self.report_path(variant, 0).parent
            if folder == Path(self.output) or folder in folders:
                raise SettingError(f"--variants.{variant}: needs a name of its own, with a letter or digit in it.")
            folders[folder] = variant
            try:
                settings = resolved_settings(["fit", *self.args(variant)])
            except SystemExit:
                raise SettingError(f"--variants.{variant} is refused, as said above.") from None
            for seed, report in self.reports(variant).items():
                if differing := _first_differing(report["settings"], settings):
                    name, then, now = differing
                    raise SettingError(
                        f"{self.report_path(variant, seed)} was made with {name} {then}; the study now asks for {now}. "
                        "Give another --output, or delete the file to run the seed again."
                    )

    def missing(self, num_threads: int) -> list[SeedRun]:
        """The seeds that have no report yet: all variants' first seeds first."""
        return [
            SeedRun(variant, self.args(variant), seed, num_threads)
            for seed in range(self.seeds)
            for variant in self.variants
            if not self.report_path(variant, seed).exists()
        ]

    def run(self, engine: Engine, num_threads: int, tell: Callable[[str], None]) -> bool:
        """Runs what is missing, keeps each report as it comes, and writes the table; whether all seeds ended well."""
        self.check()
        runs = self.missing(num_threads)
        tell(f"{self.title}: seeds finished: {len(self.variants) * self.seeds - len(runs)}, to run: {len(runs)}")
        all_well = True
        events = engine(runs)
        try:
            for event in events:
                name = f"{runs.index(event.run) + 1} of {len(runs)}: {event.run.variant}, seed {event.run.seed}"
                if isinstance(event, Start):
                    tell(f"{name} starts; its output is in {event.output}")
                else:
                    is_well, result = self._keep(event)
                    tell(f"{name} {result}")
                    all_well = all_well and is_well
        finally:
            events.close()
            self.write()
        return all_well

    def _keep(self, outcome: Outcome) -> tuple[bool, str]:
        """Writes a seed's report, or its error; returns whether it ended well, and how in words."""
        run, report, error = outcome
        path = self.report_path(run.variant, run.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        if report is None or last_accuracy(report) is None:
            error = error or "nothing was evaluated after the last epoch: let validation or the test run there"
            atomic_write(_error_path(path), f"{error}\n")
            return False, f"failed, see {_error_path(path)}"
        report["command"] = command_text(run.fit_args())  # as it runs anywhere, without the study's own folder
        atomic_write(path.with_suffix(".md"), report_markdown(report))
        atomic_write(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")  # last: it marks the seed as done
        _error_path(path).unlink(missing_ok=True)
        row = summarise(run.variant, [report], [])
        return True, f"ends with {row['mean']:.2%} after {report['wall_clock_seconds']:.0f} s of training"


def _machine_text(hardware: dict[str, Any], versions: dict[str, str]) -> str:
    gpu = f", {hardware['gpu']}" if "gpu" in hardware else ""
    threads = "one thread" if hardware["threads"] == 1 else f"{hardware['threads']} threads"
    return (
        f"{hardware['processor']} with {hardware['cores']} cores{gpu}, {threads} a seed; torch {versions['torch']}, "
        f"lightning {versions['lightning']}"
    )


def _error_path(report_path: Path) -> Path:
    return report_path.with_suffix(".error.txt")


def _first_differing(then: dict[str, Any], now: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """An option that differs, with both values; not the seed, nor an option that one of the two does not know."""
    for group, values in then.items():
        for name, value in values.items():
            if (group, name) != ("data", "seed") and name in now[group] and value != now[group][name]:
                return f"--{group}.{name}", value, now[group][name]
    return None
