"""Versions and hardware of a measurement, without host name or paths.

`python -m mnist_lightning.runs.environment` prints them as JSON.
"""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

import mnist_lightning


def versions() -> dict[str, str]:
    """Versions of every package that a result may depend on."""
    # Imported here because only reports need them.
    import lightning
    import numpy
    import torchvision

    return {
        "mnist_lightning": mnist_lightning.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
    }


def hardware() -> dict[str, str | int]:
    """Processor, available cores, PyTorch's threads, system, and the GPU if there is one."""
    found: dict[str, str | int] = {
        "processor": _processor_name(),
        "cores": num_cores(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def num_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    environment = {"date": datetime.now(UTC).date().isoformat(), "hardware": hardware(), "versions": versions()}
    print(json.dumps(environment, indent=2, ensure_ascii=False))
