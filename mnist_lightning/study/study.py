"""A study: variants of a training, each over several seeds, with all reports in one folder."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from mnist_lightning.cli import resolved_settings
from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.figures.style import png_of
from mnist_lightning.files import atomic_write, csv_text, from_json, json_data, one_line, to_json
from mnist_lightning.runs.record import Record
from mnist_lightning.runs.record_text import report_markdown
from mnist_lightning.runs.settings import Settings, command_text
from mnist_lightning.study.chart import study_figure
from mnist_lightning.study.seed_runs import Outcome, SeedRun, Start
from mnist_lightning.study.settings import StudySettings
from mnist_lightning.study.summary import MeasuredRow, Row, StudyTable, add_differences, last_accuracy, summarise
from mnist_lightning.study.summary_text import HOLM_TEXT, single_view_text, study_table

Engine = Callable[[list[SeedRun]], Generator[Start | Outcome]]


class Study(StudySettings):
    """Runs `fit` for each variant and seed, and writes one table of them all."""

    def args(self, variant: str) -> tuple[str, ...]:
        """The arguments of `fit`.

        Raises:
            UserError: a quotation mark is not closed.
        """
        try:
            return (*shlex.split(self.variants[variant]), *shlex.split(self.fit))
        except ValueError as error:
            raise UserError(f"--variants.{variant} or --fit: {error}. Close each quotation mark.") from None

    def report_path(self, variant: str, seed: int) -> Path:
        """The path of a finished seed's report; a failed seed has a file with its error there instead."""
        folder = re.sub(r"\W+", "_", variant).strip("_").lower()
        return Path(self.output) / folder / f"seed_{seed}.json"

    def reports(self, variant: str) -> dict[int, Record]:
        """The reports of the finished seeds.

        Raises:
            UserError: a report is damaged.
        """
        paths = {seed: self.report_path(variant, seed) for seed in range(self.seeds)}
        return {seed: _read_report(path) for seed, path in paths.items() if path.exists()}

    def rows(self) -> list[MeasuredRow | Row]:
        """The table's rows, one per variant."""
        rows = []
        for variant in self.variants:
            reports = self.reports(variant)
            failed = [seed for seed in range(self.seeds) if _error_path(self.report_path(variant, seed)).exists()]
            rows.append(summarise(variant, reports, failed))
        if self.compare:
            add_differences(rows)
        return rows

    def text(self) -> str:
        """The page: the table, how it was made, and what failed."""
        rows = self.rows()
        measured = sorted({row.measured_on for row in rows if isinstance(row, MeasuredRow)})
        measured_text = measured[0] if len(measured) == 1 else "the images named below" if measured else "nothing yet"
        method = (
            f"Accuracy after the last epoch on {measured_text}; 95 % confidence interval of the mean (Student's t); "
            "seconds: median training time of a seed, which may share the machine with others. "
            f"{f'{HOLM_TEXT} ' if self.compare else ''}"
        )
        lines = [f"# {self.title}", "", study_table(rows), "", method + self.provenance(), ""]
        lines += [self.note, ""] if self.note else []
        for row in rows:
            line = f"- {row.variant}: `{PROGRAM} fit {shlex.join(self.args(row.variant))}`"
            if isinstance(row, MeasuredRow):
                line += (f", on {row.measured_on}" if len(measured) > 1 else "") + single_view_text(row)
            lines.append(line)
        for variant in self.variants:
            for seed in range(self.seeds):
                path = _error_path(self.report_path(variant, seed))
                if path.exists():
                    error = path.read_text(encoding="utf-8").strip()
                    lines += ["", f"{variant}, seed {seed} failed:", "", "```", error, "```"]
        return "\n".join([*lines, "", *(["![accuracies](study.png)", ""] if measured else [])])

    def provenance(self) -> str:
        """The machines, versions and dates of the finished seeds."""
        return provenance(report for variant in self.variants for report in self.reports(variant).values())

    def write(self) -> None:
        """Writes the table as Markdown, CSV and JSON, and the chart."""
        rows = self.rows()
        folder = Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "README.md", self.text())
        atomic_write(folder / "study.csv", csv_text([json_data(row) for row in rows], float_format=""))
        atomic_write(folder / "study.json", to_json(StudyTable(self.title, rows)))
        measured = [row for row in rows if isinstance(row, MeasuredRow)]
        if measured:
            atomic_write(folder / "study.png", png_of(study_figure(measured)))

    def check(self) -> None:
        """Checks every variant's command line, and that the finished seeds were made with it.

        Raises:
            UserError: a variant would not run, two share a folder, or a finished seed has other settings.
        """
        if Path(self.output).exists() and not Path(self.output).is_dir():
            raise UserError(f"--output {self.output} is not a folder. Name a new one, or that of this study.")
        folders: dict[Path, str] = {}
        for variant in self.variants:
            if any(arg.startswith("--seed_everything") for arg in self.args(variant)):
                raise UserError(
                    f"--variants.{variant} or --fit sets --seed_everything, which a study sets itself. Use --seeds."
                )
            folder = self.report_path(variant, 0).parent
            if folder == Path(self.output) or folder in folders:
                raise UserError(
                    f"--variants.{variant}: two variants have this folder name, or it has no letter or digit. Use "
                    "another name."
                )
            folders[folder] = variant
            try:
                settings = resolved_settings(["fit", *self.args(variant)])
            except SystemExit:
                raise UserError(f"--variants.{variant}: see the error above.") from None
            for seed, report in self.reports(variant).items():
                if differing := _first_differing(report.settings, settings):
                    name, then, now = differing
                    raise UserError(
                        f"{self.report_path(variant, seed)} was made with {name} {then}; the study now asks for {now}. "
                        "Give another --output, or delete the file to run the seed again."
                    )

    def missing(self, num_threads: int) -> list[SeedRun]:
        """The seeds without a report: seed 0 of every variant, then seed 1, and so on."""
        return [
            SeedRun(variant, self.args(variant), seed, num_threads)
            for seed in range(self.seeds)
            for variant in self.variants
            if not self.report_path(variant, seed).exists()
        ]

    def run(self, engine: Engine, num_threads: int, tell: Callable[[str], None]) -> bool:
        """Runs the missing seeds, writes each report at its end, then the table; returns whether all succeeded."""
        self.check()
        runs = self.missing(num_threads)
        tell(f"{self.title}: seeds finished: {len(self.variants) * self.seeds - len(runs)}, to run: {len(runs)}")
        all_succeeded = True
        events = engine(runs)
        try:
            for event in events:
                name = f"{runs.index(event.run) + 1} of {len(runs)}: {event.run.variant}, seed {event.run.seed}"
                if isinstance(event, Start):
                    tell(f"{name} starts; its output is in {event.output}")
                else:
                    succeeded, result = self._keep(event)
                    tell(f"{name} {result}")
                    all_succeeded = all_succeeded and succeeded
        finally:
            events.close()
            self.write()
        return all_succeeded

    def _keep(self, outcome: Outcome) -> tuple[bool, str]:
        """Writes a seed's report, or its error; returns whether it succeeded, and its result in words."""
        run, report, error = outcome
        path = self.report_path(run.variant, run.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        accuracy = None if report is None else last_accuracy(report)
        if report is None or accuracy is None:
            error = error or "nothing was evaluated after the last epoch: enable validation or the test"
            atomic_write(_error_path(path), f"{error}\n")
            return False, f"failed, see {_error_path(path)}"
        report.command = command_text(run.fit_args())  # runs anywhere, without the study's temporary folder
        atomic_write(path.with_suffix(".md"), report_markdown(report))
        atomic_write(path, to_json(report))  # last: it marks the seed as finished
        _error_path(path).unlink(missing_ok=True)
        return True, f"ends with {accuracy:.2%} after {report.wall_clock_seconds:.0f} s of training"


def _read_report(path: Path) -> Record:
    try:
        return from_json(Record, path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({one_line(str(error))}). Restore it, or delete it to run the seed again."
        ) from None


def provenance(reports: Iterable[Record]) -> str:
    """The machines, versions and dates of seeds; how many were trained on each machine if there are several."""
    reports = list(reports)
    if not reports:
        return "No seed has finished yet."
    machines = Counter(map(_machine_text, reports))
    texts = list(machines) if len(machines) == 1 else [f"{count} on {text}" for text, count in machines.most_common()]
    dates = sorted({report.date for report in reports})
    days = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"{'Seeds: ' if len(machines) > 1 else ''}{'; '.join([*texts, days])}."


def _machine_text(report: Record) -> str:
    hardware, versions = report.hardware, report.versions
    gpu = f", {hardware['gpu']}" if "gpu" in hardware else ""
    threads = "1 thread" if hardware["threads"] == 1 else f"{hardware['threads']} threads"
    return (
        f"{hardware['processor']} with {hardware['cores']} cores{gpu}, {threads} per seed, torch {versions['torch']}, "
        f"lightning {versions['lightning']}"
    )


def _error_path(report_path: Path) -> Path:
    return report_path.with_suffix(".error.txt")


def _first_differing(then: Settings, now: Settings) -> tuple[str, Any, Any] | None:
    """An option that differs, with both values; ignores the seed and options that only one of them has."""
    for group, values in then.items():
        for name, value in values.items():
            if (group, name) != ("data", "seed") and name in now[group] and value != now[group][name]:
                return f"--{group}.{name}", value, now[group][name]
    return None
