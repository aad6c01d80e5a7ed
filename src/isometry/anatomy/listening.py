"""One way to hear of a tensor's gradient, safe for views of tensors that are written later."""

from collections.abc import Callable

from torch import Tensor


def listen(tensor: Tensor, hear: Callable[[Tensor], Tensor | None]) -> None:
    """Call a function with the gradient of a tensor when the backward pass comes by.

    Args:
        tensor: A tensor that requires a gradient.
        hear: What to call; a tensor it returns takes the gradient's place.
    """
    # After a write through another view torch makes a view's node anew, but only when it is asked for. A hook on a view
    # whose node is stale ends the process (torch 2.13), so it is asked for first.
    assert tensor.grad_fn is not None or tensor.is_leaf
    tensor.register_hook(hear)
