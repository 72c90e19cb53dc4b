"""A study: variants of a training, each over several seeds, with all records in one folder."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.figures.style import png_of
from mnist_lightning.files import atomic_write, csv_text, from_json, json_data, to_json
from mnist_lightning.runs.folder import locked
from mnist_lightning.runs.record import Record, num_cores
from mnist_lightning.runs.settings import command_text
from mnist_lightning.study import table
from mnist_lightning.study.chart import study_figure

INTERRUPTED = (130, 143, -2, -15)  # by Ctrl-C or SIGTERM, which reach the seeds too; negative while Python imports
CHART = "![accuracies](study.png)"  # ends the page of every study
WITHOUT_EFFECT = r" --(run_name|num_threads)[ =]\S+"  # options that do not change a seed's result


class SeedRun(NamedTuple):
    """One seed of a variant, where its record belongs, and the arguments of its run, the first of which is `fit`."""

    variant: str
    seed: int
    path: Path
    args: list[str]


@dataclass(frozen=True)
class Study:
    """Runs `fit` for each variant and seed, and writes one table of them all. The options of `study` say what."""

    variants: dict[str, str]
    output: str
    title: str
    fit: str
    seeds: int
    compare: bool
    note: str
    num_processes: int | None
    num_threads: int
    ray_address: str | None

    def args(self, variant: str) -> list[str]:
        """The arguments of `fit`."""
        try:
            args = [*shlex.split(self.variants[variant]), *shlex.split(self.fit)]
        except ValueError as error:
            raise UserError(f"--variants.{variant} or --fit: {error}. Close each quotation mark.") from None
        if any(arg.startswith("--seed_everything") for arg in args):
            raise UserError(f"--variants.{variant} or --fit sets --seed_everything. Use --seeds instead.")
        return args

    def runs(self) -> list[SeedRun]:
        """All seeds: seed 0 of every variant, then seed 1, and so on."""
        runs = []
        for seed in range(self.seeds):
            for variant in self.variants:
                path = Path(self.output, re.sub(r"\W+", "_", variant).strip("_").lower(), f"seed_{seed}.json")
                options = ["--seed_everything", str(seed), "--num_threads", str(self.num_threads)]
                runs.append(SeedRun(variant, seed, path, ["fit", *self.args(variant), *options]))
        return runs

    def missing(self) -> list[SeedRun]:
        """The seeds without a record."""
        return [run for run in self.runs() if not run.path.exists()]

    def records(self) -> dict[str, dict[int, Record]]:
        """The records of the finished seeds, by variant and seed."""
        records: dict[str, dict[int, Record]] = {variant: {} for variant in self.variants}
        for run in self.runs():
            if run.path.exists():
                try:
                    record = from_json(Record, run.path.read_text(encoding="utf-8"))
                except ValueError as error:
                    raise UserError(f"{run.path} is damaged ({error}). Delete it to run this seed again.") from None
                asked, records[run.variant][run.seed] = command_text(run.args), record
                if re.sub(WITHOUT_EFFECT, "", record.command) != re.sub(WITHOUT_EFFECT, "", asked):
                    raise UserError(
                        f"{run.path} was made by another command:\n{record.command}\nThe study now asks for:\n{asked}\n"
                        "Give another --output, or delete seeds to run them again."
                    )
        return records

    def rows(self) -> list[table.Row]:
        """The table's rows: one for each variant with a finished seed."""
        records = self.records()
        rows = [table.summarise(name, by_seed, self.seeds) for name, by_seed in records.items() if by_seed]
        if self.compare and records[next(iter(records))]:
            table.add_differences(rows)
        return rows

    def text(self) -> str:
        """The page: the table and how it was made; at least one seed has finished."""
        rows, records = self.rows(), [record for by_seed in self.records().values() for record in by_seed.values()]
        images = "; ".join(sorted({row.measured_on for row in rows}))
        method = (
            f"Accuracy after the last epoch on {images}; 95 % confidence interval of the mean (Student's t); "
            "seconds: median training time of a seed, which may share the machine with others. "
            f"{f'{table.HOLM_TEXT} ' if self.compare else ''}{provenance(records)}"
        )
        lines = [f"# {self.title}", "", table.study_table(rows), "", method, ""]
        lines += [self.note, ""] if self.note else []
        for row in rows:
            command = f"{PROGRAM} fit {shlex.join(self.args(row.variant))}"
            lines.append(f"- {row.variant}: `{command}`{table.single_view_text(row)}")
        return "\n".join([*lines, "", CHART, ""])

    def write(self) -> None:
        """Writes the table as Markdown and CSV, and the chart, if a seed has finished; prints the page."""
        if rows := self.rows():
            folder, text = Path(self.output), self.text()
            atomic_write(folder / "README.md", text)
            atomic_write(folder / "study.csv", csv_text([json_data(row) for row in rows], float_format=""))
            atomic_write(folder / "study.png", png_of(study_figure(rows)))
            print(f"\n{text}")

    def run(self) -> bool:
        """Runs the missing seeds, writes each record at its end, then the table; returns whether all have finished."""
        output, folders = Path(self.output), {run.path.parent for run in self.runs()}
        if len(folders) < len(self.variants) or output in folders:
            raise UserError("--variants: two share the name of a folder, or one has no letter or digit. Rename it.")
        self.records()  # checks the finished seeds
        page = output / "README.md"
        if page.exists() and CHART not in page.read_text(encoding="utf-8"):
            raise UserError(f"--output {output} holds a README.md that is not this study's. Name another folder.")
        output.mkdir(parents=True, exist_ok=True)
        with locked(output, advice="name another --output"):
            for folder in (output, *folders):  # what cannot be written is found before the training
                folder.mkdir(exist_ok=True)
                TemporaryFile(dir=folder).close()
            missing = self.missing()
            counts = f"seeds finished: {len(self.runs()) - len(missing)}, to run: {len(missing)}"
            print(f"{self.title}: {counts}. After Ctrl-C, run the same command to continue.", flush=True)
            run_of: dict[Future[Record | str], SeedRun] = {}
            try:
                with workers(self.num_processes, self.num_threads, self.ray_address) as submit:
                    run_of |= {submit(run.args): run for run in missing}
                    for ended in as_completed(list(run_of)):
                        _keep(run_of.pop(ended), ended.result())
            finally:
                for ended, run in run_of.items():  # the seeds that were running when SIGTERM ended the loop
                    if ended.done() and not ended.cancelled() and ended.exception() is None:
                        _keep(run, ended.result())
                self.write()
            return not self.missing()


def _keep(run: SeedRun, outcome: Record | str) -> None:
    """Writes a seed's record, or prints why it failed."""
    if isinstance(outcome, Record) and outcome.last_accuracy is None:
        outcome = "failed: nothing was evaluated after the last epoch; enable validation or the test"
    if isinstance(outcome, Record):
        outcome.command = command_text(run.args)  # runs anywhere, without the study's temporary folder
        atomic_write(run.path, to_json(outcome))
        outcome = f"ends with {outcome.last_accuracy:.2%} after {outcome.wall_clock_seconds:.0f} s of training"
    print(f"{run.variant}, seed {run.seed} {outcome}", flush=True)


def run_seed(args: Sequence[str]) -> Record | str:
    """Runs `fit` to its end; returns its record, or the last lines of its output if it failed."""
    with TemporaryDirectory(prefix="mnist_lightning_study_") as folder:
        own_folder = ["--trainer.default_root_dir", folder, "--run_name", "seed"]
        command = [sys.executable, "-m", "mnist_lightning", *args, *own_folder]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        record = Path(folder, "seed", "version_0", "report.json")
        if ended.returncode == 0 and record.exists():
            return from_json(Record, record.read_text(encoding="utf-8"))
    if ended.returncode in INTERRUPTED:
        raise KeyboardInterrupt
    return f"failed with status {ended.returncode}:\n{ended.stdout.strip()[-2000:]}"


@contextmanager
def workers(
    num_processes: int | None, num_threads: int, ray_address: str | None
) -> Iterator[Callable[[list[str]], Future[Record | str]]]:
    """What starts `run_seed` in the background: on this machine, or on Ray's, which have this package and the data."""
    num_processes = num_processes or max(1, num_cores() // num_threads)
    if ray_address is None:
        pool = ThreadPoolExecutor(num_processes)
        try:
            yield lambda args: pool.submit(run_seed, args)
        finally:
            pool.shutdown(cancel_futures=True)  # waits for the seeds that have started
        return
    try:
        import ray

        cpus = num_processes * num_threads if ray_address == "local" else None
        cluster = ray.init(ray_address, num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    except (ImportError, ConnectionError, ValueError, RuntimeError) as error:
        advice = "Run `pip install 'mnist_lightning[ray]'`, start a cluster, or use `local`."
        raise UserError(f"--ray_address {ray_address}: {str(error)[:200]}\n{advice}") from None
    with cluster:
        task = ray.remote(num_cpus=num_threads)(run_seed)
        yield lambda args: task.remote(args).future()


def provenance(records: Sequence[Record]) -> str:
    """The machines, versions and dates of seeds; how many were trained on each machine if there are several."""
    machines = Counter(map(_machine_text, records)).most_common()
    texts = [f"{count} on {text}" for text, count in machines] if len(machines) > 1 else [machines[0][0]]
    dates = [record.date for record in records]
    days = " to ".join(dict.fromkeys([min(dates), max(dates)]))
    return f"{'Seeds: ' if len(machines) > 1 else ''}{'; '.join([*texts, days])}."


def _machine_text(record: Record) -> str:
    hardware, versions = record.hardware, record.versions
    gpu = f", {hardware['gpu']}" if "gpu" in hardware else ""
    threads = "1 thread" if hardware["threads"] == 1 else f"{hardware['threads']} threads"
    return (
        f"{hardware['processor']} with {hardware['cores']} cores{gpu}, {threads} per seed, torch {versions['torch']}, "
        f"lightning {versions['lightning']}"
    )
