"""What a study is asked to do."""

from dataclasses import dataclass

from mnist_lightning.bounds import Count, PathText


@dataclass(frozen=True)
class StudySettings:
    """What a study trains, and where it writes the reports.

    Args:
        variants: What to compare: a name for each, and its arguments of `fit`.
        output: Directory for the seeds' reports, the table and the chart. Finished seeds are not run again.
        title: Heading of the table.
        fit: Arguments of every variant, after its own.
        seeds: Number of seeds; they are 0, 1, 2, …
        compare: Compare each variant with the first.
        note: A note below the table, such as how the settings were chosen.
    """

    variants: dict[str, str]
    output: PathText
    title: str = "Study"
    fit: str = ""
    seeds: Count = 3
    compare: bool = False
    note: str = ""
