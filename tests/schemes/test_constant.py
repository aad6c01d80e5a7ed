import pytest

from isometry.fills.distributions import Constant, Distribution, Normal, Uniform
from isometry.schemes import SCHEMES
from isometry.theory.fans import Fans


@pytest.mark.parametrize("fans", [Fans(1, 1), Fans(300, 2.5)], ids=str)
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("zeros", {}, Constant(0.0)),
        ("ones", {}, Constant(1.0)),
        ("constant", {"value": -2.5}, Constant(-2.5)),
        ("normal", {}, Normal(0.01)),
        ("normal", {"std": 0.3}, Normal(0.3)),
        ("uniform", {}, Uniform(-0.07, 0.07)),
        ("uniform", {"bound": 0.2}, Uniform(-0.2, 0.2)),
    ],
)
def test_fixed_schemes_do_not_ask_for_the_fans(
    name: str, options: dict[str, float], expected: Distribution, fans: Fans
) -> None:
    assert SCHEMES[name](fans, **options) == expected
