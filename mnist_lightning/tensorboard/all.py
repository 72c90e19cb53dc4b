"""All dashboards, in the order in which their hooks run."""

from lightning.pytorch import Callback

from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.tensorboard.accuracy_per_class import AccuracyPerClass
from mnist_lightning.tensorboard.augmented_batch import AugmentedBatch
from mnist_lightning.tensorboard.charts import ChartLayout
from mnist_lightning.tensorboard.confusion_matrix import ConfusionMatrix
from mnist_lightning.tensorboard.embedding import Embedding
from mnist_lightning.tensorboard.evaluation import Evaluation
from mnist_lightning.tensorboard.feature_maps import FeatureMaps
from mnist_lightning.tensorboard.filters import FirstLayerFilters
from mnist_lightning.tensorboard.graph import Graph
from mnist_lightning.tensorboard.histograms import Histograms
from mnist_lightning.tensorboard.hyperparameters import Hyperparameters
from mnist_lightning.tensorboard.mistakes import ConfidentMistakes
from mnist_lightning.tensorboard.precision_recall import PrecisionRecall
from mnist_lightning.tensorboard.texts import DataSetText, LayerTableText, ReportText


def tensorboard_callbacks(run_report: RunRecord, logs_settings: bool = True) -> list[Callback]:
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
