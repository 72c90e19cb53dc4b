"""The LightningDataModule: images in memory, augmented a batch at a time on the device that trains."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from lightning.pytorch import LightningDataModule
from torch import Tensor
from typing_extensions import override

from mnist_lightning.data import datasets
from mnist_lightning.data.batches import (
    UNKNOWN,
    Batch,
    EvaluationBatches,
    Interpolation,
    LabelledImages,
    RandomAffine,
    TrainingBatches,
)
from mnist_lightning.errors import UserError, check_choices

Validation = Literal["test", "holdout", "none"]
Part = Literal["train", "val", "test"]


class DigitsDataModule(LightningDataModule):
    """Serves batches of digits, or of other grey images with 28 × 28 pixels; augments them on the device.

    Args:
        data_dir: Directory that holds the files, or MNIST/raw or FashionMNIST/raw with them; of a `folder`,
            train/CLASS/* and test/CLASS/*, or CLASS/* of which `num_holdout` images become the test images, or for
            `predict` the images alone. None means the environment variable MNIST_DATA_DIR, else `data`.
        dataset: `mnist`; `fashion_mnist`; `offline_digits`, scikit-learn's 1,797 digits, which are not MNIST; or
            `folder`, image files of yours: grey, and resized to 28 × 28 pixels; `csv`, train.csv and test.csv as in
            Kaggle's Digit Recognizer: a label and 784 pixels per row; in test.csv, the label may be missing.
        batch_size: Images per training step and process.
        eval_batch_size: Images per step of validation, test and prediction.
        validation: Images to validate on after each epoch: the `test` images, as in the original recipe; a `holdout`
            of the training images; or `none`: the run trains on all of them and tests once, at its end.
        num_holdout: Number of training images that `holdout` holds out, stratified by class.
        split_seed: Seed of the holdout; apart from the run's seed, so that runs of several seeds compare.
        invert: Exchange black and white, for dark objects on a light background: the augmentation moves black in.
        rotation_degrees: Augmentation: largest rotation in either direction.
        translation_percent: Augmentation: largest shift in x and in y, in percent of the image's side.
        scale_percent: Augmentation: largest change of size, in percent.
        shear_degrees: Augmentation: largest shear along x.
        interpolation: Augmentation: `nearest`, with translation by whole pixels, or `bilinear`.
        hard_fraction: From the second epoch on, this fraction of the training images comes first: those with the
            largest loss in the first epoch, and a fifth of them at random. With --trainer.max_steps, a run can end
            there. 1 keeps a random order. From Python, this needs the callback
            `mnist_lightning.callbacks.hard_images.HardImages`.
        on_device: Keep all images on the training device as uint8 (55 MB for MNIST), so that no step waits for a copy.
        seed: Seed of order, augmentation and dropout; the command line sets it from --seed_everything.
    """

    def __init__(
        self,
        data_dir: str | None = None,
        dataset: datasets.DatasetName = "mnist",
        batch_size: PositiveInt = 512,
        eval_batch_size: PositiveInt = 512,
        validation: Validation = "test",
        num_holdout: PositiveInt = 5000,
        split_seed: NonNegativeInt = 0,
        invert: bool = False,
        rotation_degrees: NonNegativeFloat = 7.0,
        translation_percent: NonNegativeFloat = 10.0,
        scale_percent: NonNegativeFloat = 0.0,
        shear_degrees: NonNegativeFloat = 0.0,
        interpolation: Interpolation = "nearest",
        hard_fraction: PositiveFloat = 1.0,
        on_device: bool = False,
        seed: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        check_choices(DigitsDataModule, locals())
        if hard_fraction > 1 or scale_percent >= 100 or shear_degrees >= 90:
            raise UserError(
                f"hard_fraction {hard_fraction}, scale_percent {scale_percent}, shear_degrees {shear_degrees}: use at "
                "most 1, less than 100, and less than 90."
            )
        # A checkpoint moves between machines: it keeps all settings but the data's place. The framework's command line
        # adds `_instantiator`.
        self.save_hyperparameters(ignore=["data_dir", "_instantiator"])
        self.data_dir = str(Path(data_dir or datasets.default_data_dir()).expanduser())
        self.dataset = dataset
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.validation = validation
        self.num_holdout = num_holdout
        self.split_seed = split_seed
        self.invert = invert
        self.hard_fraction = float(hard_fraction)
        self.on_device = on_device
        self.seed = seed
        self.augmentation = RandomAffine(
            rotation_degrees, translation_percent, scale_percent, shear_degrees, interpolation
        )
        self._parts: dict[str, LabelledImages] = {}

    @property
    def title(self) -> str:
        """The data set's name in every output; says so if it is not MNIST."""
        return self.data_set.title

    @cached_property
    def data_set(self) -> datasets.DataSet:
        """What `dataset` names; a subclass with other images overrides this."""
        return datasets.data_set(self.dataset, self.data_dir, padding=255 if self.invert else 0)  # what becomes black

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        return self.data_set.class_names

    @cached_property
    def pixels(self) -> datasets.PixelStatistics:
        """Mean and standard deviation of the training images' pixels, in [0, 1]; read now if they are not known."""
        if (known := self.data_set.statistics) is not None:
            return datasets.PixelStatistics(1 - known.mean, known.std) if self.invert else known
        statistics = datasets.pixel_statistics(self.images("train").images)
        if statistics.std == 0:
            raise UserError(f"{self.title}: all pixels of the training images have the same value. Check the files.")
        return statistics

    @property
    def classifier_settings(self) -> dict[str, Any]:
        """The arguments of DigitClassifier that the images determine, by name."""
        if not self.class_names:
            raise UserError(f"--data.data_dir {self.data_dir} holds images without classes: only `predict` takes them.")
        return {"class_names": self.class_names, "pixel_mean": self.pixels.mean, "pixel_std": self.pixels.std}

    @property
    def has_test_labels(self) -> bool:
        """Whether the classes of the test images are known."""
        return not (self.images("test").labels == UNKNOWN).any()

    @property
    def validation_title(self) -> str:
        """The images of the validation accuracy."""
        held_out = f"{self.num_holdout:,} held-out training images"
        return {"test": "test images", "holdout": held_out, "none": "nothing"}[self.validation]

    @override
    def prepare_data(self) -> None:
        self._read()  # in one process, which downloads before the others read

    @override
    def setup(self, stage: str) -> None:
        self._read()
        needed = {"fit": "train" if self.validation == "none" else "val", "validate": "val", "test": "test"}
        if stage in needed and (self._parts[needed[stage]].labels == UNKNOWN).any():
            raise UserError(
                f"{self.title}: the test images have no labels to compare with. Use `predict`; to train, "
                "--data.validation holdout or none."
            )
        device = self.trainer.strategy.root_device if self.on_device and self.trainer is not None else "cpu"
        self._parts = {name: LabelledImages(*(each.to(device) for each in part)) for name, part in self._parts.items()}

    def images(self, name: Part) -> LabelledImages:
        """One of the sets as stored; reads the files if that has not happened yet."""
        self._read()
        return self._parts[name]

    def _read(self) -> None:
        if self._parts:
            return
        train, test = self.data_set.read(self.data_dir)
        if test is None:
            train, test = self._split(train)
        parts = {"train": train, "test": test, "val": test}
        if self.validation == "holdout":
            parts["train"], parts["val"] = self._split(train)
        if self.invert:
            parts = {name: LabelledImages(255 - part.images, part.labels) for name, part in parts.items()}
        self._parts = parts

    def _split(self, data: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
        """Holds out `num_holdout` images."""
        if self.num_holdout >= len(data.labels):
            raise UserError(
                f"--data.num_holdout {self.num_holdout} leaves nothing to train on: there are {len(data.labels)} "
                f"training images. Use at most {len(data.labels) - 1}."
            )
        kept, held_out = datasets.stratified_split(data.labels, self.num_holdout, self.split_seed)
        return data.subset(kept), data.subset(held_out)

    def _rank_and_num_ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    @override
    def train_dataloader(self) -> TrainingBatches:
        ranks = self._rank_and_num_ranks()
        return TrainingBatches(self.images("train"), self.batch_size, self.seed, *ranks, self.hard_fraction)

    def _evaluation_batches(self, name: Part) -> EvaluationBatches:
        return EvaluationBatches(self.images(name), self.eval_batch_size, *self._rank_and_num_ranks())

    @override
    def val_dataloader(self) -> EvaluationBatches | list[EvaluationBatches]:
        return [] if self.validation == "none" else self._evaluation_batches("val")

    @override
    def test_dataloader(self) -> EvaluationBatches:
        return self._evaluation_batches("test")

    @override
    def predict_dataloader(self) -> EvaluationBatches:
        return self._evaluation_batches("test")

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not isinstance(batch, Batch):  # of another loader
            return batch
        assert self.trainer is not None
        return self.prepare(batch, augment=self.trainer.training)

    def prepare(self, batch: Batch, augment: bool) -> Batch:
        """Converts a loader's uint8 batch to float32 in [0, 1] on its device, and augments it if asked."""
        images: Tensor = batch.images.float().div_(255)  # (B, 1, 28, 28)
        if augment:
            images = self.augmentation(images, batch.augmentation_seed)
        return batch._replace(images=images)
