"""Randomly damaged checkpoints: each is refused, or its content is unchanged."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from mnist_lightning.errors import CheckpointError
from mnist_lightning.runs.checkpoint_file import load_checkpoint


@dataclass
class Damage:
    """Counts of damaged checkpoints."""

    num_damaged: int = 0
    num_refused: int = 0
    num_unchanged: int = 0  # the damage lay in the padding between the archive's members


def damage_checkpoint(checkpoint: Path, num_times: int, seed: int) -> Damage:
    """Truncates a checkpoint, flips a bit, or overwrites a part with noise, and reads it; `num_times` times.

    Raises:
        AssertionError: a damaged checkpoint was read with other weights.
    """
    content, state = checkpoint.read_bytes(), load_checkpoint(checkpoint)["state_dict"]
    path = checkpoint.with_name("damaged.ckpt")
    choose = random.Random(seed)
    damage = Damage()
    for _ in range(num_times):
        path.write_bytes(_damaged(content, choose))
        damage.num_damaged += 1
        try:
            found = load_checkpoint(path)["state_dict"]
        except CheckpointError:
            damage.num_refused += 1
        else:
            torch.testing.assert_close(found, state, rtol=0, atol=0)
            damage.num_unchanged += 1
    path.unlink()
    return damage


def _damaged(content: bytes, choose: random.Random) -> bytes:
    begin = choose.randrange(len(content))
    kind = choose.choice(("cut", "bit", "noise"))
    if kind == "cut":
        return content[:begin]
    if kind == "bit":
        return content[:begin] + bytes([content[begin] ^ 1 << choose.randrange(8)]) + content[begin + 1 :]
    noise = choose.randbytes(min(choose.randrange(1, 200), len(content) - begin))
    return content[:begin] + noise + content[begin + len(noise) :]
