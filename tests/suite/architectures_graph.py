"""Graph networks from torch_geometric."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tests.suite.architecture import from_geometric
from tests.suite.data import communities

WIDTH, GROUPS, FEATURES = 64, 4, 16

Made = tuple[nn.Module, Any, Callable[[Any], Tensor]]


def nodes(model: nn.Module) -> Made:
    """Nodes that are to be told apart by group."""
    features, edges, labels = communities()
    return model, (features, edges), lambda out: F.cross_entropy(out, labels)


class Stack(nn.Module):
    """Convolutions of one kind with ReLU between them."""

    def __init__(self, *convolutions: nn.Module) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for convolution in self.convolutions[:-1]:
            x = F.relu(convolution(x, edges))
        return self.convolutions[-1](x, edges)


MODELS: dict[str, dict[str, Any]] = {
    "GCN": {},
    "GraphSAGE": {},
    "GIN": {},
    "GAT": {"heads": 4},
    "EdgeCNN": {},
}
for model, settings in MODELS.items():
    from_geometric(
        model,
        lambda g, model=model, settings=settings: nodes(getattr(g, model)(FEATURES, WIDTH, 3, GROUPS, **settings)),
    )
from_geometric("GATv2", lambda g: nodes(g.GAT(FEATURES, WIDTH, 3, GROUPS, heads=4, v2=True, dropout=0.2)))
from_geometric(
    "GCN with jumping knowledge", lambda g: nodes(g.GCN(FEATURES, WIDTH, 4, GROUPS, jk="cat", norm="BatchNorm"))
)
from_geometric("GraphSAGE with jumping maximum", lambda g: nodes(g.GraphSAGE(FEATURES, WIDTH, 4, GROUPS, jk="max")))
from_geometric("GIN with layer norm", lambda g: nodes(g.GIN(FEATURES, WIDTH, 3, GROUPS, norm="LayerNorm")))

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "GraphConv": {},
    "TAGConv": {"K": 2},
    "ChebConv": {"K": 3},
    "SGConv": {"K": 2},
    "ARMAConv": {},
    "LEConv": {},
    "ClusterGCNConv": {},
    "MFConv": {},
    "FeaStConv": {"heads": 2},
    "ResGatedGraphConv": {},
    "TransformerConv": {},
    "FiLMConv": {},
    "GENConv": {},
    "SSGConv": {"alpha": 0.1, "K": 2},
    "GeneralConv": {},
    "SuperGATConv": {},
}
for kind, settings in CONVOLUTIONS.items():
    from_geometric(
        kind,
        lambda g, kind=kind, settings=settings: nodes(
            Stack(*(getattr(g, kind)(a, b, **settings) for a, b in ((FEATURES, WIDTH), (WIDTH, GROUPS))))
        ),
    )


class DeepResidual(nn.Module):
    """GCN II: sixteen layers that keep a part of the first, with weights near the identity."""

    def __init__(self, convolution: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, GROUPS)
        self.convolutions = nn.ModuleList(
            [convolution(WIDTH, alpha=0.1, theta=0.5, layer=layer + 1, shared_weights=True) for layer in range(16)]
        )

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        first = x = F.relu(self.first(x))
        for convolution in self.convolutions:
            x = F.relu(convolution(x, first, edges))
        return self.last(x)


class Propagated(nn.Module):
    """A perceptron whose predictions are spread over the graph."""

    def __init__(self, propagation: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Dropout(0.3), nn.Linear(WIDTH, GROUPS))
        self.propagation = propagation

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.propagation(self.body(x), edges)


class Gated(nn.Module):
    """A gated unit that is applied along the edges."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution, self.head = convolution, nn.Linear(WIDTH, GROUPS)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.head(self.convolution(x, edges))


from_geometric("GCN2Conv of 16 layers", lambda g: nodes(DeepResidual(g.GCN2Conv)))
from_geometric("APPNP", lambda g: nodes(Propagated(g.APPNP(K=5, alpha=0.1))))
from_geometric("GatedGraphConv", lambda g: nodes(Gated(g.GatedGraphConv(WIDTH, 3))))
from_geometric("GraphUNet", lambda g: nodes(g.GraphUNet(FEATURES, WIDTH, GROUPS, depth=2, pool_ratios=0.5)))


def _link_prediction(g: Any) -> Made:
    _, edges, labels = communities()
    model = g.LightGCN(len(labels), WIDTH, 2)
    others = torch.randint(len(labels), edges.shape)
    return (
        model,
        (edges, torch.cat([edges, others], 1)),
        lambda out: F.softplus(-(out[: edges.shape[1]] - out[edges.shape[1] :])).mean(),
    )


def _autoencoder(g: Any) -> Made:
    features, edges, _ = communities()

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.mean, self.log_deviation = (
                g.GCNConv(a, b) for a, b in ((FEATURES, WIDTH), (WIDTH, 16), (WIDTH, 16))
            )

        def forward(self, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
            x = F.relu(self.first(x, edges))
            return self.mean(x, edges), self.log_deviation(x, edges)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = g.VGAE(Encoder())

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            code = self.inner.encode(x, edges)
            return self.inner.recon_loss(code, edges) + self.inner.kl_loss() / len(x)

    return Whole(), (features, edges), lambda out: out


def _molecules(g: Any) -> Made:
    """Points of three dimensions with kinds, in several molecules."""
    kinds, places = torch.randint(1, 9, (48,)), torch.randn(48, 3) * 2
    molecule = torch.arange(48) // 8
    goal = torch.randn(6, 1)

    class Graph(nn.Module):
        """All pairs within a molecule, where the radius search needs a compiled package."""

        def forward(self, places: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
            pairs = ((batch[:, None] == batch[None]) & ~torch.eye(len(batch), dtype=torch.bool)).nonzero().T
            return pairs, (places[pairs[0]] - places[pairs[1]]).norm(dim=-1)

    model = g.SchNet(
        hidden_channels=32, num_filters=32, num_interactions=2, num_gaussians=16, interaction_graph=Graph()
    )
    return model, (kinds, places, molecule), lambda out: F.mse_loss(out, goal)


def _fingerprints(g: Any) -> Made:
    features, edges, _ = communities(96)
    edges = edges[:, edges[0] // 16 == edges[1] // 16]
    model = g.AttentiveFP(FEATURES, 32, 1, edge_dim=4, num_layers=2, num_timesteps=2)
    inputs = (features, edges, torch.randn(edges.shape[1], 4), torch.arange(96) // 16)
    return model, inputs, lambda out: F.mse_loss(out, torch.linspace(-1, 1, 6)[:, None])


def _principal_neighbourhoods(g: Any) -> Made:
    degrees = torch.bincount(torch.randint(1, 12, (200,)))
    return nodes(
        g.PNA(FEATURES, WIDTH, 2, GROUPS, aggregators=["mean", "max", "std"], scalers=["identity", "amplification"],
              deg=degrees)
    )  # fmt: skip


def _relations(g: Any) -> Made:
    features, edges, labels = communities()
    kinds = torch.randint(3, (edges.shape[1],))

    class Relational(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = g.RGCNConv(FEATURES, WIDTH, 3, num_bases=2), g.RGCNConv(WIDTH, GROUPS, 3)

        def forward(self, x: Tensor, edges: Tensor, kinds: Tensor) -> Tensor:
            return self.last(F.relu(self.first(x, edges, kinds)), edges, kinds)

    return Relational(), (features, edges, kinds), lambda out: F.cross_entropy(out, labels)


def _general_powerful_scalable(g: Any) -> Made:
    features, edges, labels = communities()

    class Gps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.head = nn.Linear(FEATURES, 32), nn.Linear(32, GROUPS)
            self.layers = nn.ModuleList([g.GPSConv(32, g.SAGEConv(32, 32), heads=4, dropout=0.1) for _ in range(2)])

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            x = self.into(x)
            for layer in self.layers:
                x = layer(x, edges)
            return self.head(x)

    return Gps(), (features, edges), lambda out: F.cross_entropy(out, labels)


for name, make in {
    "LightGCN": _link_prediction,
    "VGAE": _autoencoder,
    "SchNet": _molecules,
    "AttentiveFP": _fingerprints,
    "PNA": _principal_neighbourhoods,
    "RGCNConv": _relations,
    "GPSConv": _general_powerful_scalable,
}.items():
    from_geometric(name, make)
