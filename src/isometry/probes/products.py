"""Products with the Jacobian between two tensors of one recorded forward pass, and what is read from them alone.

Forward products are taken by reverse mode twice: J^T u is linear in u, so its derivative against u in the direction v
is J v. Unlike forward mode this needs no second run of the model, and passes batch norm in training mode and recurrent
layers; what it needs is a derivative of the backward pass.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from isometry._phrases import Phrase
from isometry.probes.evidence import NotMeasuredError

ADJOINT_TOLERANCE = 0.05  # relative; half precision errs by some per cent, what has no derivative by all of it
BREAKDOWN = 1e-10  # relative; the directions that a start reaches are used up


class Product:
    """The Jacobian of one tensor against another, as a linear map of flat vectors in double precision."""

    def __init__(self, source: Tensor, target: Tensor) -> None:
        self.source = source
        self.target = target
        self._direction = torch.zeros_like(target, requires_grad=True)
        self._back = self._gradient(target, source, self._direction, is_first=True)
        self._require_adjoint()

    @property
    def num_inputs(self) -> int:
        """Numbers in the source, counts."""
        return self.source.numel()

    @property
    def num_outputs(self) -> int:
        """Numbers in the target, counts."""
        return self.target.numel()

    def backward(self, vector: Float64[Tensor, " outputs"]) -> Float64[Tensor, " inputs"]:
        """Return J^T u."""
        given = vector.to(self.target).reshape(self.target.shape)
        return self._gradient(self.target, self.source, given).detach().double().flatten()

    def forward(self, vector: Float64[Tensor, " inputs"]) -> Float64[Tensor, " outputs"]:
        """Return J v."""
        given = vector.to(self._back).reshape(self._back.shape)
        return self._gradient(self._back, self._direction, given).detach().double().flatten()

    def _require_adjoint(self) -> None:
        """Hold u · J Jᵀ u against |Jᵀ u|²: a function that is differentiable once gives zeros where it should fail."""
        generator = torch.Generator().manual_seed(0)
        u = torch.randn(self.num_outputs, generator=generator, dtype=torch.float64).to(self.source.device)
        back = self.backward(u)
        expected = float(back @ back)
        if abs(float(u @ self.forward(back)) - expected) > ADJOINT_TOLERANCE * expected:
            raise NotMeasuredError(
                Phrase("the backward pass has no derivative of its own: its products contradict the forward ones")
            )

    def _gradient(self, of: Tensor, against: Tensor, vector: Tensor, *, is_first: bool = False) -> Tensor:
        if not of.requires_grad:
            return torch.zeros_like(against)
        try:
            return torch.autograd.grad(
                of, against, vector, retain_graph=True, create_graph=is_first, materialize_grads=True
            )[0]
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise NotMeasuredError(
                Phrase("the backward pass has no derivative of its own: {reason}", reason=reason)
            ) from error


@dataclass(frozen=True, slots=True)
class Ritz:
    """What Lanczos iterations say of the squared singular values.

    Attributes:
        nodes: Estimates of squared singular values, falling.
        weights: The share of all that each stands for; they add up to 1.
        is_exact: Whether the iterations went through all directions, so that the nodes are the values themselves.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    is_exact: bool

    @property
    def mean(self) -> float:
        """Mean of the squared singular values."""
        return sum(node * weight for node, weight in zip(self.nodes, self.weights, strict=True))

    @property
    def mean_square(self) -> float:
        """Mean of their squares."""
        return sum(node**2 * weight for node, weight in zip(self.nodes, self.weights, strict=True))


def lanczos(product: Product, *, num_vectors: int, num_steps: int, seed: int) -> Ritz:
    """Estimate the spectrum of J J^T, or of J^T J if that is smaller, by stochastic Lanczos quadrature.

    Args:
        product: The Jacobian.
        num_vectors: Random directions to start from, counts.
        num_steps: Steps from each of them, counts.
        seed: Seed of these directions.

    Returns:
        Nodes and weights, of all directions together.

    Raises:
        NotMeasuredError: If the backward pass cannot be derived.

    Source:
        Ubaru, Chen, Saad 2017, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, section 3; with full
        reorthogonalisation.
    """
    size = min(product.num_inputs, product.num_outputs)
    generator = torch.Generator().manual_seed(seed)
    pairs: list[tuple[float, float]] = []
    steps = min(num_steps, size)
    for _ in range(num_vectors):
        start = torch.randn(size, generator=generator, dtype=torch.float64).to(product.source.device)
        values, vectors = torch.linalg.eigh(_tridiagonal(product, start, steps))
        shares = vectors[0].square() / num_vectors
        pairs.extend(zip(values.clamp(min=0).tolist(), shares.tolist(), strict=True))
    pairs.sort(reverse=True)
    nodes, weights = zip(*pairs, strict=True)
    return Ritz(nodes, weights, is_exact=steps == size == len(pairs))


def dense(product: Product, *, num_samples: int) -> Float64[Tensor, "samples outputs inputs"]:
    """Return the Jacobian of each sample, for samples that do not influence one another.

    Args:
        product: The Jacobian of all samples, which lie along the first axis of both tensors.
        num_samples: Their number, counts.

    Returns:
        One matrix a sample.

    Raises:
        NotMeasuredError: If the backward pass cannot be derived.
    """
    into, out = product.num_inputs // num_samples, product.num_outputs // num_samples
    if out <= into:
        rows = [product.backward(_unit(out, place, num_samples)) for place in range(out)]
        return torch.stack([row.reshape(num_samples, into) for row in rows], dim=1)
    columns = [product.forward(_unit(into, place, num_samples)) for place in range(into)]
    return torch.stack([column.reshape(num_samples, out) for column in columns], dim=2)


def couples_samples(product: Product, *, seed: int) -> bool:
    """Say whether one sample's output depends on another's input, or the tensors are not one row a sample."""
    num_samples = len(product.source) if product.source.ndim else 0
    if not num_samples or not product.target.ndim or len(product.target) != num_samples:
        return True
    vector = torch.zeros(num_samples, product.num_outputs // num_samples, dtype=torch.float64)
    vector[0] = torch.randn(vector.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    answer = product.backward(vector.flatten().to(product.source.device)).reshape(num_samples, -1)
    return bool(answer[1:].ne(0).any())


def _unit(size: int, place: int, num_samples: int) -> Tensor:
    vector = torch.zeros(num_samples, size, dtype=torch.float64)
    vector[:, place] = 1
    return vector.flatten()


def _tridiagonal(product: Product, start: Tensor, steps: int) -> Tensor:
    """Return the matrix of Lanczos, of at most `steps` rows."""
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for _ in range(steps):
        image = _twice(product, basis[-1])
        diagonal.append(image @ basis[-1])
        stacked = torch.stack(basis)
        for _ in range(2):  # once leaves what rounding brought back
            image -= stacked.T @ (stacked @ image)
        size = image.norm()
        if size <= BREAKDOWN * max(float(diagonal[0]), 1e-300) or len(basis) == steps:
            break
        beside.append(size)
        basis.append(image / size)
    off = torch.stack(beside) if beside else torch.zeros(0, dtype=torch.float64)
    return torch.diag(torch.stack(diagonal)) + torch.diag(off, 1) + torch.diag(off, -1)


def _twice(product: Product, vector: Tensor) -> Tensor:
    if product.num_outputs <= product.num_inputs:
        return product.forward(product.backward(vector))
    return product.backward(product.forward(vector))
