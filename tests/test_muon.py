"""Muon: orthogonal updates for the convolutions, Nesterov momentum for the other parameters."""

import pytest
import torch
from torch import nn

from mnist_lightning.fast.muon import Muon, orthogonalise
from mnist_lightning.network import OptimizedNet
from support.runs import Fit


@pytest.mark.parametrize("shape", [(18, 90), (10, 9), (28, 28)])
def test_singular_values_become_about_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonalise(matrix) @ vh.T  # diagonal if the singular vectors are unchanged
    well_conditioned = values > 0.05 * values[0]
    diagonal = turned.diagonal()[well_conditioned]
    assert ((diagonal > 0.6) & (diagonal < 1.3)).all()
    assert (turned - turned.diagonal().diag()).abs().max() < 1e-3


def test_scale_of_the_gradient_does_not_matter() -> None:
    matrix = torch.randn(18, 90, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(1e-3 * matrix), orthogonalise(matrix), atol=1e-3, rtol=1e-3)


def test_a_step_by_hand() -> None:
    torch.manual_seed(0)
    conv = nn.Parameter(torch.randn(4, 2, 3, 3))
    start = conv.detach().clone()
    optimizer = Muon([conv], [], lr=1.0, momentum=0.9, weight_decay=0.1, conv_lr=0.1, conv_momentum=0.5)
    conv.grad = torch.randn_like(conv)
    expected = start * 2 / start.norm() - 0.1 * orthogonalise(conv.grad.flatten(1)).view_as(conv)
    optimizer.step()
    torch.testing.assert_close(conv.detach(), expected)


def test_other_parameters_use_nesterov_momentum() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    muon = Muon([], ours.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, conv_lr=1.0, conv_momentum=0.5)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    for _ in range(4):
        inputs = torch.randn(5, 3)
        for layer, optimizer in ((ours, muon), (theirs, sgd)):
            optimizer.zero_grad()
            layer(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_batch_norm_removes_the_scale_of_a_convolution() -> None:
    """The reason why Muon may fix the norm."""
    torch.manual_seed(0)
    net = OptimizedNet(dropout=0)
    images = torch.rand(8, 1, 28, 28)
    before = net(images)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 4:
                parameter.mul_(7)
    torch.testing.assert_close(net(images), before, atol=2e-3, rtol=1e-3)  # differs only by batch norm's eps


def test_a_frozen_parameter_stays() -> None:
    conv, bias = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.zeros(4))
    start = conv.detach().clone()
    optimizer = Muon([conv], [bias], lr=0.1, momentum=0.9, weight_decay=0, conv_lr=0.1, conv_momentum=0.5)
    bias.grad = torch.ones(4)
    assert optimizer.step(lambda: bias.detach().square().sum()) == 0
    assert torch.equal(conv, start)
    assert (bias < 0).all()


def test_fit_with_muon_keeps_the_convolutions_norm(fit: Fit) -> None:
    """The last step follows the rescaling, and is small."""
    folder = fit("--model.optimizer", "muon", "--model.muon_lr", "0.01", "--model.schedule", "constant")
    weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    norms = [(value.norm() / len(value) ** 0.5).item() for value in weights.values() if value.ndim == 4]
    assert len(norms) == 6
    assert norms == pytest.approx([1.0] * 6, abs=0.02)
