"""The LightningDataModule: images in memory, augmented a batch at a time on the device that trains."""

from functools import cached_property
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from mnist_lightning.bounds import (
    BatchSize,
    Count,
    Degrees,
    Fraction,
    PathText,
    Percent,
    Processes,
    Seed,
    ShearDegrees,
    check_arguments,
)
from mnist_lightning.data.augmentation import Interpolation, RandomAffine
from mnist_lightning.data.batches import Batch, BatchDataset, LabelledImages, OrderedBatches, ShuffledBatches
from mnist_lightning.data.datasets import DataSet, DatasetName, PixelStatistics, data_set, pixel_statistics
from mnist_lightning.data.idx_files import default_data_dir
from mnist_lightning.data.stratified_split import stratified_split
from mnist_lightning.errors import UserError

Validation = Literal["test", "holdout", "none"]


class DigitsDataModule(LightningDataModule):
    """Serves batches of digits, or of other grey images with 28 × 28 pixels; augments them on the device.

    Args:
        data_dir: Directory that holds the files, or MNIST/raw, FashionMNIST/raw, KMNIST/raw or QMNIST/raw with them;
            of a `folder`, train/CLASS/* and test/CLASS/*. None means the environment variable MNIST_DATA_DIR, else
            `data`.
        dataset: `mnist`, `fashion_mnist`, `kmnist`, `qmnist`, or `qmnist50k`, whose test images are the 50,000 that
            MNIST does not have; `offline_digits`, scikit-learn's 1,797 digits, which are not MNIST; or `folder`, image
            files of yours: grey, and resized to 28 × 28 pixels.
        batch_size: Images per training step and process.
        eval_batch_size: Images per step of validation, test and prediction.
        validation: Images to validate on after each epoch: the `test` images, as in the original recipe; a `holdout`
            of the training images; or `none`: the run trains on all of them and tests once, at its end.
        num_holdout: Number of training images that `holdout` holds out, stratified by class.
        split_seed: Seed of the holdout; apart from the run's seed, so that runs of several seeds compare.
        rotation_degrees: Augmentation: largest rotation in either direction.
        translation_percent: Augmentation: largest shift in x and in y, in percent of the image's side.
        scale_percent: Augmentation: largest change of size, in percent.
        shear_degrees: Augmentation: largest shear along x.
        interpolation: Augmentation: `nearest`, with translation by whole pixels, or `bilinear`.
        hard_fraction: From the second epoch on, this fraction of the training images comes first: those with the
            largest loss in the first epoch, and a fifth of them at random. With --trainer.max_steps, a run can end
            there. 1 keeps a random order. From Python, this needs the callback
            `mnist_lightning.callbacks.image_losses.ImageLosses`.
        num_workers: Loader processes; 0 is fastest, since a batch is one indexing operation.
        on_device: Keep the whole data set on the training device as uint8 (55 MB for MNIST), so that no step waits for
            a copy; needs `num_workers: 0`.
        seed: Seed of order, augmentation and dropout; the command line sets it from --seed_everything.
    """

    def __init__(
        self,
        data_dir: PathText | None = None,
        dataset: DatasetName = "mnist",
        batch_size: BatchSize = 512,
        eval_batch_size: BatchSize = 512,
        validation: Validation = "test",
        num_holdout: Count = 5000,
        split_seed: Seed = 0,
        rotation_degrees: Degrees = 7.0,
        translation_percent: Percent = 10.0,
        scale_percent: Percent = 0.0,
        shear_degrees: ShearDegrees = 0.0,
        interpolation: Interpolation = "nearest",
        hard_fraction: Fraction = 1.0,
        num_workers: Processes = 0,
        on_device: bool = False,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        check_arguments(DigitsDataModule.__init__, locals())
        if on_device and num_workers:
            raise UserError(
                f"--data.num_workers {num_workers} with --data.on_device true: loader processes cannot reach the "
                "device's memory. Use --data.num_workers 0, or --data.on_device false."
            )
        # A checkpoint moves between machines: it keeps all settings but the data's place. The framework's command line
        # adds `_instantiator`.
        self.save_hyperparameters(ignore=["data_dir", "_instantiator"])
        self.data_dir = data_dir or default_data_dir()
        self.dataset = dataset
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.validation = validation
        self.num_holdout = num_holdout
        self.split_seed = split_seed
        self.hard_fraction = float(hard_fraction)
        # A plain int: the command line passes a subclass, which loader processes could not unpickle.
        self.num_workers = int(num_workers)
        self.on_device = on_device
        self.seed = seed
        self.augmentation = RandomAffine(
            rotation_degrees, translation_percent, scale_percent, shear_degrees, interpolation
        )
        self._sets: dict[str, LabelledImages] = {}
        self._first_epoch = self._first_step = 0  # where training starts
        self._losses: Tensor | None = None  # (N,) of the first epoch, with a hard_fraction below 1
        self._has_all_losses = False  # else only those of this process, and 0 for other images

    @property
    def title(self) -> str:
        """The data set's name in every output; says so if it is not MNIST."""
        return self.data_set.title

    @cached_property
    def data_set(self) -> DataSet:
        """What `dataset` names; a subclass with other images overrides this."""
        return data_set(self.dataset, self.data_dir)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        return self.data_set.class_names

    @cached_property
    def pixels(self) -> PixelStatistics:
        """Mean and standard deviation of the training images' pixels, in [0, 1]; read now if they are not known."""
        if self.data_set.statistics is not None:
            return self.data_set.statistics
        self._read()
        statistics = pixel_statistics(self._sets["train"].images)
        if statistics.std == 0:
            raise UserError(f"{self.title}: all pixels of the training images have the same value. Check the files.")
        return statistics

    @property
    def pixel_mean(self) -> float:
        """The mean of `pixels`."""
        return self.pixels.mean

    @property
    def pixel_std(self) -> float:
        """The standard deviation of `pixels`."""
        return self.pixels.std

    @property
    def classifier_settings(self) -> dict[str, Any]:
        """The arguments of DigitClassifier that the images determine, by name."""
        return {"class_names": self.class_names, "pixel_mean": self.pixel_mean, "pixel_std": self.pixel_std}

    @property
    def validation_title(self) -> str:
        """The images of the validation accuracy."""
        return {
            "test": "test images",
            "holdout": f"{self.num_holdout:,} held-out training images",
            "none": "nothing",
        }[self.validation]

    @override
    def prepare_data(self) -> None:
        # Lightning calls this in one process, which downloads before the others read. `pixels` has already read a data
        # set whose statistics are not in the table.
        self._read()

    @override
    def setup(self, stage: str) -> None:
        self._read()
        self._sets = {
            name: LabelledImages(*(part.to(self._device) for part in data)) for name, data in self._sets.items()
        }

    def images(self, name: Literal["train", "val", "test"]) -> LabelledImages:
        """One of the sets as stored, after `setup`."""
        return self._sets[name]

    @property
    def _device(self) -> torch.device:
        """The device that stores the data set."""
        if self.trainer is None or not self.on_device:
            return torch.device("cpu")
        return self.trainer.strategy.root_device

    def _read(self) -> None:
        if self._sets:
            return
        train, test = self.data_set.read(self.data_dir)
        self._sets = {"train": train, "test": test, "val": test}
        if self.validation == "holdout":
            if self.num_holdout >= len(train.labels):
                raise UserError(
                    f"--data.num_holdout {self.num_holdout} leaves nothing to train on: there are {len(train.labels)} "
                    f"training images. Use at most {len(train.labels) - 1}."
                )
            kept, held_out = stratified_split(train.labels, self.num_holdout, self.split_seed)
            self._sets["train"] = LabelledImages(train.images[kept], train.labels[kept])
            self._sets["val"] = LabelledImages(train.images[held_out], train.labels[held_out])

    @override
    def state_dict(self) -> dict[str, Any]:
        """The position in training: the framework does not save a loader's."""
        assert self.trainer is not None
        if self.trainer.state.fn != TrainerFn.FITTING:
            return {}
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        epoch, step = progress.processed, self.trainer.fit_loop.batch_idx + 1
        if progress.started == progress.processed:  # between two epochs
            step = 0
        elif step == self.trainer.num_training_batches:
            epoch, step = epoch + 1, 0
        return {"epoch": epoch, "step": step} | ({} if self._losses is None else {"losses": self._all_losses()})

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the position, to train on."""
        if self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        self._first_epoch, self._first_step = state_dict["epoch"], state_dict["step"]
        if (losses := state_dict.get("losses")) is not None:
            if losses.shape != self._sets["train"].labels.shape:
                raise UserError(
                    f"the run was trained on {len(losses):,} images, but there are {len(self._sets['train'].labels):,} "
                    "now. Use the same data, or start a new run: omit --ckpt_path."
                )
            rank, _ = self._rank_and_num_ranks()
            self._has_all_losses = self._first_epoch > 0
            self._losses = losses if self._has_all_losses or rank == 0 else torch.zeros_like(losses)

    def record_losses(self, indices: Tensor, losses: Tensor) -> None:
        """Keeps the losses (B,) of a batch of the first epoch."""
        assert self._losses is not None
        self._losses[indices] = losses

    def merge_losses(self) -> None:
        """Completes the losses of the first epoch at its end; with several processes, each has seen some images."""
        assert self._losses is not None
        self._losses.copy_(self._all_losses())
        self._has_all_losses = True

    def _all_losses(self) -> Tensor:
        assert self.trainer is not None
        assert self._losses is not None
        if self._has_all_losses:
            return self._losses
        all_losses = self.trainer.strategy.reduce(self._losses.clone(), reduce_op="sum")
        assert isinstance(all_losses, Tensor)
        return all_losses

    def _rank_and_num_ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        data = self._sets["train"]
        rank, num_ranks = self._rank_and_num_ranks()
        start = (self._first_epoch, self._first_step)
        if self.hard_fraction < 1:
            losses = torch.zeros(len(data.labels)) if self._losses is None else self._losses
            self._losses = losses.to(self.trainer.strategy.root_device if self.trainer is not None else "cpu")
        sampler = ShuffledBatches(
            *(len(data.labels), self.batch_size, self.seed, rank, num_ranks, *start, self._device),
            *(self.hard_fraction, self._losses),
        )
        return self._loader(data, sampler)

    def _evaluation_dataloader(self, name: str) -> DataLoader[Batch]:
        data = self._sets[name]
        rank, num_ranks = self._rank_and_num_ranks()
        sampler = OrderedBatches(len(data.labels), self.eval_batch_size, rank, num_ranks, self._device)
        return self._loader(data, sampler)

    @override
    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        return [] if self.validation == "none" else self._evaluation_dataloader("val")

    @override
    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_dataloader("test")

    @override
    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_dataloader("test")

    def _loader(self, data: LabelledImages, sampler: Any) -> DataLoader[Batch]:
        return DataLoader(
            BatchDataset(data),
            batch_size=None,  # the sampler requests whole batches
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available() and self._device.type == "cpu",
            # Its own generator: the loader would otherwise advance the global one.
            generator=torch.Generator().manual_seed(self.seed),
        )

    @override
    def on_after_batch_transfer(self, batch: Batch | Tensor, dataloader_idx: int) -> Batch | Tensor:
        if isinstance(batch, Tensor):
            return batch  # the example input of Lightning's model summary
        assert self.trainer is not None
        return self.prepare(batch, augment=self.trainer.training)

    def prepare(self, batch: Batch, augment: bool) -> Batch:
        """Converts a loader's uint8 batch to float32 in [0, 1] on its device, and augments it if asked."""
        images: Tensor = batch.images.float().div_(255)  # (B, 1, 28, 28)
        if augment:
            images = self.augmentation(images, batch.augmentation_seed)
        return batch._replace(images=images)
