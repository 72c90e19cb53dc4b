"""Muon: SGD with momentum that orthogonalises the update of each convolution.

K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein, 2024,
https://kellerjordan.github.io/posts/muon; with convolutions of constant norm, as in
https://github.com/KellerJordan/cifar10-airbench. torch.optim.Muon accepts 2-D parameters only and does not fix their
norm.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

NUM_ITERATIONS = 5  # the authors' value


class Muon(Optimizer):
    """SGD with Nesterov momentum; updates of convolutions are orthogonalised.

    Batch norm makes the scale of a convolution before it irrelevant. The weights (O, I, H, W) are rescaled to norm √O
    before each step, so `conv_lr` is a relative step size, and weight decay applies to the other parameters only.
    """

    def __init__(
        self,
        convs: Iterable[Tensor],  # weights (O, I, H, W), each followed by batch norm
        others: Iterable[Tensor],  # all other parameters, which the next three arguments are for
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
                state: dict[str, Tensor] = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer = state["momentum_buffer"]
                buffer.mul_(group["momentum"]).add_(update)
                update = update.add(buffer, alpha=group["momentum"])
                if group["is_conv"]:
                    update = orthogonalise(update.flatten(1)).view_as(update)
                parameter.sub_(update, alpha=group["lr"])
        return loss


def orthogonalise(matrix: Tensor) -> Tensor:
    """Approximates the nearest orthogonal matrix (M, N) by the authors' Newton–Schulz iteration and coefficients.

    All singular values except the smallest end up between about 0.7 and 1.2, which is sufficient.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)  # no singular value above 1
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.T if is_tall else x
