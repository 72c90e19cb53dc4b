"""A callback that times the dashboards' hooks, for dashboards_cost.py."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

PACKAGE = "mnist_lightning.tensorboard."


class HookTimer(Callback):
    """Measures the time of each hook of each dashboard."""

    seconds: defaultdict[str, defaultdict[str, float]]  # by callback and hook; on the class, for the caller to read

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return  # the hooks are wrapped already
        HookTimer.seconds = defaultdict(lambda: defaultdict(float))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if type(callback).__module__.startswith(PACKAGE) and callback is not self:
                for hook in [name for name in dir(callback) if name.startswith("on_")]:
                    setattr(callback, hook, self._timed(type(callback).__name__, hook, getattr(callback, hook)))

    def _timed(self, name: str, hook: str, function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> None:
            start = time.perf_counter()
            function(*args, **kwargs)
            self.seconds[name][hook] += time.perf_counter() - start

        return timed
