"""`python -m mnist_lightning study`: the command line of studies."""

import sys

from jsonargparse.typing import PositiveInt


def study(
    variants: dict[str, str],
    output: str,
    title: str = "Study",
    fit: str = "",
    seeds: PositiveInt = 3,
    compare: bool = False,
    note: str = "",
    num_processes: PositiveInt | None = None,
    num_threads: PositiveInt = 1,
    ray_address: str | None = None,
) -> None:
    """Train several configs with several seeds each, and write one table.

    Args:
        variants: What to compare: a name for each, and its arguments of `fit`.
        output: Directory for the seeds' records, the table and the chart. Finished seeds are not run again.
        title: Heading of the table.
        fit: Arguments of every variant, after its own.
        seeds: Number of seeds; they are 0, 1, 2, …
        compare: Compare each variant with the first.
        note: A note below the table, such as how the settings were chosen.
        num_processes: Seeds at a time; by default the number of cores / num_threads. A running cluster ignores it.
        num_threads: Threads of each seed. On a CPU, several seeds with one thread each, side by side, are faster.
        ray_address: Ray cluster: `local` starts one on this machine, `auto` finds a running one, or HOST:PORT.
    """
    from mnist_lightning.study.study import Study

    if not Study(variants, output, title, fit, seeds, compare, note, num_processes, num_threads, ray_address).run():
        sys.exit(1)
