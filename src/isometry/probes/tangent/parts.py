"""What the gradients of a block of examples are made of, layer by layer, and the inner products of two blocks.

The gradient of output c of example i with respect to the weight of a linear layer is the sum over its rows t of
g_ict ⊗ a_it, with a the layer's input and g the gradient at its output. With one row an example the inner product of
two such gradients is (a_i · a_j) (g_ic · g_jd): a product of two small kernels, without the gradient itself.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The weight of a linear layer that meets one row an example; with its bias, a has a column of ones.

    Attributes:
        inputs: a, (examples, fan_in).
        slopes: g, (examples, outputs, fan_out).
    """

    inputs: Tensor
    slopes: Tensor

    def of(self, rows: slice) -> "Factors":
        """Return those of some of the examples."""
        return Factors(self.inputs[rows], self.slopes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Gradients as they are, of one or several parameters side by side.

    Attributes:
        gradients: (examples, outputs, parameters).
    """

    gradients: Tensor

    def of(self, rows: slice) -> "Rows":
        """Return those of some of the examples."""
        return Rows(self.gradients[rows])


Part = Factors | Rows


def add_products(kernel: Tensor, first: Part, second: Part) -> None:
    """Add the inner products of all outputs' gradients.

    Args:
        kernel: (examples, outputs, other examples, other outputs), contiguous, added to in place.
        first: Of some examples and outputs.
        second: Of others, the same part.
    """
    rows, num_outputs, columns, num_others = kernel.shape
    match first, second:
        case Factors(), Factors():
            slopes = first.slopes.reshape(rows * num_outputs, -1) @ second.slopes.reshape(columns * num_others, -1).T
            inputs = (first.inputs @ second.inputs.T)[:, None, :, None]
            kernel.addcmul_(slopes.view(kernel.shape), inputs.expand(kernel.shape))
        case Rows(), Rows():
            left, right = (each.gradients.flatten(0, 1) for each in (first, second))
            kernel.view(rows * num_outputs, columns * num_others).addmm_(left, right.T)
        case _:
            raise AssertionError("both blocks have the same parts")


def add_like_products(kernel: Tensor, first: Part, second: Part) -> None:
    """Add the inner products of like outputs' gradients, their sum over the outputs.

    Args:
        kernel: (examples, other examples), added to in place.
        first: Of some examples.
        second: Of other examples, the same part and outputs.
    """
    match first, second:
        case Factors(), Factors():
            slopes = first.slopes.flatten(1) @ second.slopes.flatten(1).T
            kernel.addcmul_(slopes, first.inputs @ second.inputs.T)
        case Rows(), Rows():
            kernel.addmm_(first.gradients.flatten(1), second.gradients.flatten(1).T)
        case _:
            raise AssertionError("both blocks have the same parts")
