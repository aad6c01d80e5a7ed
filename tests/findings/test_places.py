import pytest

from isometry.findings.places import place_of


@pytest.mark.parametrize(
    ("operation", "where", "words"),
    [
        pytest.param("sqrt", "norm", "sqrt in 'norm'", id="inside of a module"),
        pytest.param("mse_loss", "mse_loss (operation 3)", "mse_loss (operation 3)", id="outside of all modules"),
        pytest.param("mul", "mse_loss (operation 3)", "mul in 'mse_loss (operation 3)'", id="of another operation"),
    ],
)
def test_an_operation_is_named_once(operation: str, where: str, words: str) -> None:
    assert place_of(operation, where) == words
