"""All dashboards, in the order in which their hooks run."""

from lightning.pytorch import Callback

from mnist_lightning.callbacks.run_report import RunReport
from mnist_lightning.dashboards.accuracy_per_class import AccuracyPerClass
from mnist_lightning.dashboards.augmented_batch import AugmentedBatch
from mnist_lightning.dashboards.charts import ChartLayout
from mnist_lightning.dashboards.confusion_matrix import ConfusionMatrix
from mnist_lightning.dashboards.embedding import Embedding
from mnist_lightning.dashboards.evaluation import Evaluation
from mnist_lightning.dashboards.feature_maps import FeatureMaps
from mnist_lightning.dashboards.filters import FirstLayerFilters
from mnist_lightning.dashboards.graph import Graph
from mnist_lightning.dashboards.histograms import Histograms
from mnist_lightning.dashboards.hyperparameters import Hyperparameters
from mnist_lightning.dashboards.mistakes import ConfidentMistakes
from mnist_lightning.dashboards.precision_recall import PrecisionRecall
from mnist_lightning.dashboards.texts import DataSetText, LayerTableText, ReportText


def tensorboard_callbacks(run_report: RunReport, logs_settings: bool = True) -> list[Callback]:
    """The callbacks for everything that TensorBoard shows except the scalars.

    Args:
        run_report: The report of the same run; must come before these callbacks.
        logs_settings: Log the run's settings too.
    """
    evaluation = Evaluation()
    return [
        ChartLayout(),
        *([Hyperparameters(run_report.settings)] if logs_settings else []),
        DataSetText(),
        LayerTableText(),
        Graph(),
        AugmentedBatch(),
        evaluation,
        ConfusionMatrix(evaluation),
        AccuracyPerClass(evaluation),
        ConfidentMistakes(evaluation),
        PrecisionRecall(evaluation),
        FirstLayerFilters(),
        FeatureMaps(),
        Histograms(),
        Embedding(evaluation),
        ReportText(run_report),
    ]
