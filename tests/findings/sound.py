"""Feed-forward networks that train: none of them may get an error or a warning."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.networks import (
    classify,
    classify_images,
    he,
    plain,
    pre_norm,
    residual_net,
    sound,
    stack,
    zero_last,
)

# ---- plain networks ----


@sound
def plain_relu_8() -> Task:
    return classify(stack(16, *[64] * 8, 10))


@sound
def he_relu_30() -> Task:
    return classify(he(stack(16, *[64] * 30, 10)))


@sound
def sigmoid_2() -> Task:
    return classify(stack(16, 64, 64, 10, activation=nn.Sigmoid))


@sound
def tanh_8() -> Task:
    return classify(stack(16, *[64] * 8, 10, activation=nn.Tanh))


@sound
def tapering_gelu() -> Task:
    return classify(stack(16, 128, 64, 32, 10, activation=nn.GELU))


@sound
def dropout_and_batch_norm() -> Task:
    blocks = [nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)) for _ in range(12)]
    return classify(nn.Sequential(nn.Linear(16, 32), *blocks, nn.Linear(32, 10)))


@sound
def selu_alpha_dropout() -> Task:
    model = stack(16, *[64] * 12, 10, activation=lambda: nn.Sequential(nn.SELU(), nn.AlphaDropout(0.05)))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))
    return classify(model)


# ---- convex problems and zero starts ----


@sound
def linear_regression_from_zeros() -> Task:
    model = nn.Linear(16, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return make_task(model, torch.randn(64, 16), 50 + 10 * torch.randn(64, 1), loss=F.mse_loss)


@sound
def softmax_regression_from_zeros() -> Task:
    model = nn.Linear(16, 10)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return classify(model)


@sound
def softmax_regression_from_a_constant() -> Task:
    model = nn.Linear(16, 10)
    nn.init.constant_(model.weight, 0.3)
    return classify(model)


@sound
def logistic_regression_with_sigmoid() -> Task:
    model = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())
    nn.init.zeros_(model[0].weight)
    return make_task(model, torch.randn(64, 16), torch.randint(2, (64, 1)).float(), loss=F.binary_cross_entropy)


@sound
def zero_head() -> Task:
    return classify(zero_last(stack(16, 64, 64, 10)))


@sound
def zero_head_on_residual_net() -> Task:
    model = residual_net(pre_norm, depth=6)
    nn.init.zeros_(model[-1].weight)
    return classify(model)


# ---- residual networks ----


@sound
def residual_50_with_batch_norm() -> Task:
    def block(width: int) -> nn.Module:
        first, second = nn.Linear(width, width), nn.Linear(width, width)
        return nn.Sequential(first, nn.BatchNorm1d(width), nn.ReLU(), second, nn.BatchNorm1d(width))

    return classify(residual_net(block, depth=25))


@sound
def residual_50_pre_norm() -> Task:
    return classify(residual_net(pre_norm, depth=50))


@sound
def residual_50_without_norm_scaled() -> Task:
    def block(width: int) -> nn.Module:
        made = he(plain(width))
        made[2].weight.data /= math.sqrt(50)
        return made

    return classify(residual_net(block, depth=50))


@sound
def residual_50_zero_ends() -> Task:
    return classify(residual_net(lambda width: zero_last(plain(width)), depth=50))


class FixupBlock(nn.Module):
    """Fixup's block: scalar biases, a scalar scale, the last layer at zero."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)
        self.biases = nn.Parameter(torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.normal_(self.first.weight, std=math.sqrt(2 / width) * depth**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.first(x + self.biases[0]) + self.biases[1])
        return F.relu(x + self.second(out + self.biases[2]) * self.scale + self.biases[3])


@sound
def fixup_50() -> Task:
    head = nn.Linear(32, 10)
    nn.init.zeros_(head.weight)
    return classify(nn.Sequential(nn.Linear(16, 32), *[FixupBlock(32, 50) for _ in range(50)], head))


@sound
def rezero_24() -> Task:
    return classify(residual_net(plain, depth=24, scale=lambda: torch.zeros(1)))


@sound
def layer_scale_24() -> Task:
    return classify(residual_net(pre_norm, depth=24, scale=lambda: torch.full((32,), 1e-5)))


# ---- convolutions ----


@sound
def batch_norm_convnet() -> Task:
    def block(into: int, out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(into, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())

    body = [block(3, 16), block(16, 16), nn.MaxPool2d(2), block(16, 32), block(32, 32), nn.AdaptiveAvgPool2d(1)]
    return classify_images(nn.Sequential(*body, nn.Flatten(), nn.Linear(32, 10)))


@sound
def plain_convnet() -> Task:
    body = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten()]
    return classify_images(nn.Sequential(*body, nn.Linear(32 * 25, 64), nn.ReLU(), nn.Linear(64, 10)))


@sound
def depthwise_separable() -> Task:
    def block(into: int, out: int) -> nn.Module:
        depthwise = nn.Conv2d(into, into, 3, 1, 1, groups=into, bias=False)
        return nn.Sequential(
            depthwise,
            nn.BatchNorm2d(into),
            nn.ReLU6(),
            nn.Conv2d(into, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(),
        )

    body = [nn.Conv2d(3, 16, 3, 2, 1), *[block(16, 16) for _ in range(6)], nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return classify_images(nn.Sequential(*body, nn.Linear(16, 10)))


@sound
def grouped_convolutions() -> Task:
    body: list[nn.Module] = [nn.Conv2d(3, 32, 3, 1, 1), nn.ReLU()]
    for _ in range(3):
        body += [nn.Conv2d(32, 32, 3, 1, 1, groups=4), nn.ReLU()]
    return classify_images(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)))


class SqueezeExcite(nn.Module):
    """A channel gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm(self.conv(x)))
        return x + out * torch.sigmoid(self.up(F.relu(self.down(out.mean((2, 3), keepdim=True)))))


@sound
def squeeze_excite() -> Task:
    blocks = [SqueezeExcite(16) for _ in range(6)]
    return classify_images(
        nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    )


class UNet(nn.Module):
    """Three levels with skips by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.middle = nn.Conv2d(32, 64, 3, 2, 1)
        self.up2, self.up1 = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(64, 16, 2, 2)
        self.join2, self.out = nn.Conv2d(64, 64, 3, 1, 1), nn.Conv2d(32, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.down1(x))
        two = F.relu(self.down2(one))
        low = F.relu(self.middle(two))
        mixed = F.relu(self.join2(torch.cat([F.relu(self.up2(low)), two], 1)))
        return self.out(torch.cat([F.relu(self.up1(mixed)), one], 1))


@sound
def u_net() -> Task:
    images = torch.randn(16, 3, 16, 16)
    return make_task(UNet(), images, images.clone(), loss=F.mse_loss)
