"""Muon: momentum whose update of each convolution is made orthogonal, so that it learns in all directions alike.

K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein, 2024,
https://kellerjordan.github.io/posts/muon; with convolutions of constant norm, as in
https://github.com/KellerJordan/cifar10-airbench.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

NUM_ITERATIONS = 5  # as the authors


class Muon(Optimizer):
    """Nesterov momentum; the convolutions' updates are orthogonalised, all others' taken as they are.

    A convolution that batch norm follows may have any scale. Its weights (O, I, H, W) are kept at norm √O here, so
    `conv_lr` is the relative size of a step, and weight decay would do nothing: it is for the others alone.

    Args:
        convs: Weights (O, I, H, W) of the convolutions, each followed by batch norm.
        others: All other parameters.
        lr: Learning rate of the others.
        momentum: Momentum of the others.
        weight_decay: L2 penalty on the others.
        conv_lr: Learning rate of the convolutions.
        conv_momentum: Momentum of the convolutions.
    """

    def __init__(
        self,
        convs: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        conv_lr: float,
        conv_momentum: float,
    ) -> None:
        other_group = {"params": list(others), "lr": lr, "momentum": momentum, "is_conv": False}
        conv_group = {"params": list(convs), "lr": conv_lr, "momentum": conv_momentum, "is_conv": True}
        super().__init__([other_group, conv_group], {"weight_decay": weight_decay})

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update: Tensor = parameter.grad
                if group["is_conv"]:
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                else:
                    update = update.add(parameter, alpha=group["weight_decay"])
                update = self._with_momentum(parameter, update, group["momentum"])
                if group["is_conv"]:
                    update = orthogonalise(update.flatten(1)).view_as(update)
                parameter.sub_(update, alpha=group["lr"])
        return loss

    def _with_momentum(self, parameter: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        state: dict[str, Tensor] = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"]
        average.mul_(momentum).add_(gradient)
        return gradient.add(average, alpha=momentum)


def orthogonalise(matrix: Tensor) -> Tensor:
    """The orthogonal matrix near a matrix, both (M, N), by the authors' Newton–Schulz iteration and coefficients.

    The singular values come to lie between about 0.7 and 1.2, but for the smallest, and that is enough.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)  # no singular value above 1
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if is_tall else x
