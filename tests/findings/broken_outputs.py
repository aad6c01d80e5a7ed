"""Networks whose outputs, targets or data are wrong, each with the finding that must lead."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.broken import broken
from tests.findings.networks import Function, classify, stack


def regress(model: nn.Module, targets: Tensor) -> Task:
    """Vectors and numbers."""
    return make_task(model, torch.randn(len(targets), 16), targets, loss=F.mse_loss)


# ---- outputs ----


@broken("wrong-output-activation")
def softmax_before_cross_entropy() -> Task:
    return classify(nn.Sequential(stack(16, 64, 10), nn.Softmax(dim=1)))


@broken("wrong-output-activation")
def softmax_by_hand_before_cross_entropy() -> Task:
    share = Function(lambda x: x.exp() / x.exp().sum(1, keepdim=True))
    return classify(nn.Sequential(stack(16, 64, 10), share))


@broken("wrong-output-activation")
def functional_sigmoid_before_cross_entropy() -> Task:
    return classify(nn.Sequential(stack(16, 64, 10), Function(torch.sigmoid)))


@broken("wrong-output-activation")
def sigmoid_before_logits() -> Task:
    model = nn.Sequential(stack(16, 64, 1), nn.Sigmoid())
    labels = torch.randint(2, (128, 1)).float()
    return make_task(model, torch.randn(128, 16), labels, loss=F.binary_cross_entropy_with_logits)


@broken("wrong-output-activation")
def raw_outputs_as_log_probabilities() -> Task:
    return make_task(stack(16, 64, 10), torch.randn(128, 16), torch.randint(10, (128,)), loss=F.nll_loss)


@broken("wrong-output-activation")
def softmax_over_the_samples() -> Task:
    model = nn.Sequential(stack(16, 64, 10), nn.LogSoftmax(dim=0))
    return make_task(model, torch.randn(128, 16), torch.randint(10, (128,)), loss=F.nll_loss)


@broken("wrong-output-activation")
def sigmoid_behind_a_regression() -> Task:
    return regress(nn.Sequential(stack(16, 64, 1), nn.Sigmoid()), 5 + 2 * torch.randn(128, 1))


# ---- targets ----


@broken("wrong-targets")
def labels_of_one_and_two() -> Task:
    labels = 1.0 + torch.randint(2, (128, 1))
    return make_task(stack(16, 64, 1), torch.randn(128, 16), labels, loss=F.binary_cross_entropy_with_logits)


@broken("wrong-targets")
def margins_of_zero_and_one() -> Task:
    labels = torch.randint(2, (128, 1)).float()
    return make_task(stack(16, 64, 1), torch.randn(128, 16), labels, loss=F.soft_margin_loss)


@broken("broadcast-targets")
def column_against_row() -> Task:
    inputs, targets = torch.randn(128, 16), torch.randn(128)
    return make_task(stack(16, 64, 1), inputs, targets, loss=lambda out, y: (out - y).square().mean())


# ---- data ----


@broken("unnormalised-input")
def one_huge_column() -> Task:
    inputs = torch.randn(128, 16)
    inputs[:, 3] *= 1e5
    return make_task(stack(16, 64, 64, 10), inputs, torch.randint(10, (128,)), loss=F.cross_entropy)


@broken("unnormalised-input")
def prices_as_targets() -> Task:
    return regress(stack(16, 64, 64, 1), 2e5 + 1e5 * torch.randn(128, 1))


@broken("constant-data")
def one_sample_everywhere() -> Task:
    inputs = torch.randn(1, 16).repeat(128, 1)
    return make_task(stack(16, 64, 64, 10), inputs, torch.randint(10, (128,)), loss=F.cross_entropy)


@broken("single-sample-norm")
def a_group_for_each_unit() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 32), nn.GroupNorm(32, 32), nn.ReLU(), nn.Linear(32, 10)))


# ---- sums ----


@broken("summed-loss")
def sum_with_the_step_of_a_mean() -> Task:
    inputs = torch.randn(256, 16)
    return make_task(
        stack(16, 64, 64, 1),
        inputs,
        3 * inputs[:, :1] + inputs[:, 1:2] ** 2,
        loss=lambda out, y: (out - y).square().sum(),
        optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    )
