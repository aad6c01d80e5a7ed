from hypothesis import given
from hypothesis import strategies as st

from isometry.report.alignment import paired
from isometry.report.facts import LayerRow

NAMES = st.lists(st.sampled_from("abcd"), max_size=8)


def rows(names: list[str] | str, kind: str) -> list[LayerRow]:
    return [LayerRow(name=name, kind=kind) for name in names]


@given(before=NAMES, after=NAMES)
def test_every_layer_of_both_sides_appears_once_in_its_order(before: list[str], after: list[str]) -> None:
    pairs = paired(rows(before, "old"), rows(after, "new"))

    assert [pair.before.name for pair in pairs if pair.before] == before
    assert [pair.after.name for pair in pairs if pair.after] == after
    assert all(pair.before.name == pair.after.name for pair in pairs if pair.before and pair.after)
    assert all(pair.layer is (pair.before or pair.after) for pair in pairs)


def test_a_layer_that_a_remedy_added_stands_where_it_runs() -> None:
    pairs = paired(rows("abc", "old"), rows("axbc", "new"))

    assert [(pair.layer.name, pair.before is None) for pair in pairs] == [
        ("a", False),
        ("x", True),
        ("b", False),
        ("c", False),
    ]
