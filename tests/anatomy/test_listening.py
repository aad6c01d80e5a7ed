import pytest
import torch
from torch import Tensor

from isometry.anatomy.listening import listen


@pytest.mark.parametrize("is_heard_before", [False, True])
@pytest.mark.parametrize("writer", ["the view", "its base", "another view"])
def test_a_view_is_heard_after_a_write_that_makes_its_node_anew(writer: str, *, is_heard_before: bool) -> None:
    start = torch.ones(4, 6, requires_grad=True)
    base = start * 2
    view, other = base.view(2, 2, 6), base[:1]
    heard: list[Tensor] = []
    if is_heard_before:
        listen(view, heard.append)
    {"the view": view[:1], "its base": base, "another view": other}[writer].mul_(3.0)
    listen(view, heard.append)
    listen(base, heard.append)
    (view.sum() + base.sum()).backward()

    assert [gradient.sum().item() for gradient in heard][-2:] == [24.0, 48.0]


def test_what_a_listener_returns_takes_the_gradients_place() -> None:
    start = torch.ones(3, requires_grad=True)
    listen(start, lambda gradient: 2 * gradient)
    start.sum().backward()

    assert start.grad is not None
    assert start.grad.tolist() == [2.0, 2.0, 2.0]
