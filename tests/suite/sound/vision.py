"""Sound nets on pictures and graphs, with norms, shortcuts and parts that begin at zero."""

import math
import warnings

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, sgd, sound
from tests.suite.data import communities, digit_images, digits, images


@sound()
def lenet() -> Task:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10),
    )  # fmt: skip
    return make_task(model, *digit_images(), loss=nn.CrossEntropyLoss(), optimizer_factory=adam())


class Residual(nn.Module):
    """Two convolutions around a shortcut; the last norm may begin at zero."""

    def __init__(self, channels: int, *, zero: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        if zero:
            nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def resnet(*, zero: bool, depth: int = 4) -> nn.Sequential:
    blocks = [Residual(16, zero=zero) for _ in range(depth)]
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


@sound(steps=60)
def resnet_with_momentum() -> Task:
    return make_task(resnet(zero=False), *images(), loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


@sound(steps=60)
def resnet_whose_branches_begin_at_zero() -> Task:
    return make_task(resnet(zero=True), *images(), loss=F.cross_entropy, optimizer_factory=sgd(0.1, 0.9))


@sound(steps=100)
def rezero_of_thirty_blocks() -> Task:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.alpha = nn.Linear(32, 32), nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.alpha * F.relu(self.layer(x))

    model = nn.Sequential(nn.Linear(64, 32), *[Block() for _ in range(30)], nn.Linear(32, 10))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=150)
def highway_of_twelve_layers() -> Task:
    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.change, self.gate = nn.Linear(32, 32), nn.Linear(32, 32)
            nn.init.constant_(self.gate.bias, -2.0)

        def forward(self, x: Tensor) -> Tensor:
            gate = torch.sigmoid(self.gate(x))
            return gate * torch.tanh(self.change(x)) + (1 - gate) * x

    model = nn.Sequential(nn.Linear(64, 32), *[Highway() for _ in range(12)], nn.Linear(32, 10))
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam())


@sound(steps=60)
def dense_blocks() -> Task:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(8 + 8 * i, 8, 3, padding=1) for i in range(5)])
            self.norms = nn.ModuleList([nn.BatchNorm2d(8 + 8 * i) for i in range(5)])
            self.stem, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(48, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = torch.cat([x, conv(F.relu(norm(x)))], 1)
            return self.head(x.mean((2, 3)))

    return make_task(Dense(), *digit_images(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=80)
def depthwise_separable_with_squeeze_and_excitation() -> Task:
    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.depth = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            self.point, self.norm = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)
            self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = F.hardswish(self.norm(self.point(self.depth(x))))
            return x + y * torch.sigmoid(self.up(F.relu(self.down(y.mean((2, 3), keepdim=True)))))

    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1), *[Block(24) for _ in range(3)], nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 4),
    )  # fmt: skip
    return make_task(model, *images(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=80)
def u_net_for_masks() -> Task:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2 = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 24, 3, 2, 1)
            self.up, self.merge = nn.ConvTranspose2d(24, 12, 2, 2), nn.Conv2d(24, 12, 3, padding=1)
            self.norm, self.out = nn.GroupNorm(4, 24), nn.Conv2d(12, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            high = F.relu(self.down1(x))
            low = F.relu(self.norm(self.down2(high)))
            return self.out(F.relu(self.merge(torch.cat([high, self.up(low)], 1))))

    pictures, _ = images(64)
    mask = (F.avg_pool2d(pictures.mean(1, keepdim=True), 3, 1, 1) > 0.3).float()

    def dice_and_cross_entropy(out: Tensor, y: Tensor) -> Tensor:
        chance = torch.sigmoid(out)
        overlap = (2 * (chance * y).sum((1, 2, 3)) + 1) / (chance.sum((1, 2, 3)) + y.sum((1, 2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(out, y) + 1 - overlap.mean()

    return make_task(UNet(), pictures, mask, loss=dice_and_cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=150)
def vision_transformer_with_a_class_token() -> Task:
    class Vit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 32, 4, 4)
            self.token, self.places = nn.Parameter(torch.zeros(1, 1, 32)), nn.Parameter(torch.zeros(1, 17, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 4)
            nn.init.trunc_normal_(self.places, std=0.02)
            nn.init.zeros_(self.head.weight)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
            return self.head(self.norm(self.body(x))[:, 0])

    return make_task(Vit(), *images(), loss=F.cross_entropy, optimizer_factory=adam(1e-3))


@sound(steps=100)
def mixer_with_layer_scale() -> Task:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(24), nn.LayerNorm(24)
            self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
            self.channels = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))
            self.scale1, self.scale2 = (nn.Parameter(torch.full((24,), 1e-4)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.scale1 * self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.scale2 * self.channels(self.norm2(x))

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.blocks = nn.Conv2d(3, 24, 4, 4), nn.Sequential(*[Block() for _ in range(6)])
            self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.blocks(self.patch(x).flatten(2).transpose(1, 2))).mean(1))

    return make_task(Mixer(), *images(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=100)
def weight_normed_convolutions() -> Task:
    normed = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(
        normed(nn.Conv2d(1, 16, 3)), nn.ELU(), normed(nn.Conv2d(16, 16, 3)), nn.ELU(), nn.Flatten(),
        normed(nn.Linear(256, 10)),
    )  # fmt: skip
    return make_task(model, *digit_images(), loss=F.cross_entropy, optimizer_factory=adam(2e-3))


@sound(steps=100)
def spectrally_normed_critic() -> Task:
    normed = nn.utils.parametrizations.spectral_norm
    model = nn.Sequential(
        normed(nn.Linear(64, 64)), nn.LeakyReLU(0.2), normed(nn.Linear(64, 64)), nn.LeakyReLU(0.2),
        normed(nn.Linear(64, 1)),
    )  # fmt: skip
    inputs, _ = digits()
    real = torch.arange(512) % 2
    return make_task(
        model, torch.where(real[:, None] > 0, inputs[:512], torch.randn(512, 64)), real.float()[:, None],
        loss=lambda out, y: F.relu(1 - (2 * y - 1) * out).mean(), optimizer_factory=adam(1e-3),
    )  # fmt: skip


@sound(steps=200)
def self_normalising_net() -> Task:
    layers: list[nn.Module] = []
    for into in (64, *[48] * 7):
        layer = nn.Linear(into, 48)
        nn.init.normal_(layer.weight, std=1 / math.sqrt(into))
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.SELU(), nn.AlphaDropout(0.02)]
    return make_task(nn.Sequential(*layers, nn.Linear(48, 10)), *digits(), loss=F.cross_entropy)


@sound(steps=100)
def he_initialised_stack_of_twenty() -> Task:
    layers: list[nn.Module] = []
    for into in (64, *[64] * 19):
        layer = nn.Linear(into, 64)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return make_task(nn.Sequential(*layers, nn.Linear(64, 10)), *digits(), loss=F.cross_entropy,
                     optimizer_factory=adam(3e-4))  # fmt: skip


@sound(steps=100)
def auxiliary_head_of_an_inception() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
            self.side, self.head = nn.Linear(16, 10), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            early = F.relu(self.stem(x))
            late = F.relu(self.body(early))
            return self.head(late.amax((2, 3))), self.side(early.amax((2, 3)))

    return make_task(
        Net(), *digit_images(), loss=lambda out, y: F.cross_entropy(out[0], y) + 0.3 * F.cross_entropy(out[1], y),
        optimizer_factory=adam(3e-3),
    )  # fmt: skip


@sound(steps=100)
def boxes_and_classes_at_once() -> Task:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
            self.label, self.box = nn.Linear(144, 2), nn.Linear(144, 4)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            x = self.body(x).flatten(1)
            return {"label": self.label(x), "box": self.box(x).sigmoid()}

    count, size = 256, 12
    corner = torch.rand(count, 2) * 0.5
    boxes = torch.cat([corner, corner + 0.2 + 0.3 * torch.rand(count, 2)], 1)
    grid = (torch.arange(size) + 0.5) / size
    inside = [(grid >= boxes[:, i, None]) & (grid <= boxes[:, i + 2, None]) for i in (0, 1)]
    labels = torch.randint(2, (count,))
    pictures = (inside[0][:, :, None] & inside[1][:, None, :]).float() * (2.0 * labels - 1)[:, None, None]

    def loss(out: dict[str, Tensor], y: Tensor) -> Tensor:
        return F.cross_entropy(out["label"], y[:, 0].long()) + 5 * F.smooth_l1_loss(out["box"], y[:, 1:])

    goal = torch.cat([labels[:, None].float(), boxes], 1)
    return make_task(Detector(), pictures[:, None], goal, loss=loss, optimizer_factory=adam(2e-3))


@sound(steps=100)
def keypoints_by_soft_argmax() -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            heat = self.body(x).flatten(1).softmax(1).view(-1, 12, 12)
            places = torch.arange(12.0) / 11
            return torch.stack([(heat.sum(2) * places).sum(1), (heat.sum(1) * places).sum(1)], 1)

    points = torch.randint(1, 11, (256, 2))
    pictures = 0.2 * torch.randn(256, 1, 12, 12)
    pictures[torch.arange(256), 0, points[:, 0], points[:, 1]] += 2
    return make_task(Net(), pictures, points / 11, loss=F.mse_loss, optimizer_factory=adam(5e-3))


@sound(steps=100)
def graph_convolutions_of_two_layers() -> Task:
    geometric = _geometric()
    features, edges, labels = communities()
    model = geometric.GCN(16, 32, 2, 4, dropout=0.1)
    return make_task(
        model, (features, edges), [labels], loss=lambda out, y: F.cross_entropy(out, y[0]), optimizer_factory=adam(1e-2)
    )


@sound(steps=100)
def graph_attention_on_a_part_of_the_labels() -> Task:
    geometric = _geometric()
    features, edges, labels = communities()
    known = torch.rand(len(labels)) < 0.3
    model = geometric.GAT(16, 32, 2, 4, heads=4, v2=True)
    return make_task(
        model, (features, edges), [labels, known], loss=lambda out, y: F.cross_entropy(out[y[1]], y[0][y[1]]),
        optimizer_factory=adam(5e-3),
    )  # fmt: skip


def _geometric() -> "object":
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        import torch_geometric.nn.models as geometric  # noqa: PLC0415 - warns when it is imported

    return geometric


@sound(steps=150)
def set_of_points_with_a_pooled_maximum() -> Task:
    class PointNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(nn.Conv1d(3, 32, 1), nn.ReLU(), nn.Conv1d(32, 64, 1))
            self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.each(x.transpose(1, 2)).amax(2))

    labels = torch.randint(2, (256,))
    points = F.normalize(torch.randn(256, 40, 3), dim=-1)
    cubes = points / points.abs().amax(-1, keepdim=True)
    return make_task(
        PointNet(), torch.where(labels[:, None, None] > 0, points, cubes), labels, loss=F.cross_entropy,
        optimizer_factory=adam(3e-3),
    )  # fmt: skip
