from isometry.probes.running.readings import LayerReading
from isometry.report.glyphs import UNICODE
from isometry.report.run.course import LayerState
from isometry.report.run.health import health_table
from isometry.report.terminal import plain_text


def state(number: int, *, severity: str | None = None, **measured: float) -> LayerState:
    layer = LayerReading(name=f"stack.{number}", kind="linear", activation_rms=1.0, **measured)
    return LayerState(layer=layer, weight=None, severity=severity)  # pyright: ignore[reportArgumentType]


def shown(states: list[LayerState], *, width: int = 78, most: int = 24) -> list[str]:
    return plain_text(health_table(states, UNICODE, width=width, most=most), width=width, encoding="utf-8").splitlines()


def test_a_column_stands_only_where_a_layer_has_the_number() -> None:
    head = shown([state(0), state(1, dead_share=0.5)])[0]

    assert "dead" in head
    assert "satur." not in head
    assert "logit" not in head


def test_rows_are_as_many_as_are_asked_for_and_every_layer_is_shown_or_counted() -> None:
    states = [state(number, severity="error" if number in {40, 41, 70} else None) for number in range(100)]
    for most in range(4, 30):
        rows = shown(states, most=most)[2:]
        counted = sum(int(row.split()[1]) for row in rows if row.split()[-1] == "more")

        assert len(rows) <= most
        assert counted + sum("stack." in row for row in rows) == 100


def test_layers_with_an_event_are_shown_before_those_without() -> None:
    states = [state(number, severity="warning" if number == 55 else None) for number in range(100)]

    assert any(row.startswith("! stack.55") for row in shown(states, most=6))
