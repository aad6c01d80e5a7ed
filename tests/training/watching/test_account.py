from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isometry.training.watching.account import MAX_KEPT, Thinned


@given(st.integers(0, 5 * MAX_KEPT))
def test_a_long_row_is_thinned_evenly_and_keeps_its_ends(count: int) -> None:
    row = Thinned[int]()
    for each in range(count):
        row.add(each)
    kept = row.entries
    gaps = {after - before for before, after in pairwise(kept[:-1])}

    assert len(kept) <= min(count, MAX_KEPT + 1)
    assert len(gaps) <= 1
    assert kept[:1] == tuple(range(count))[:1]
    assert kept[-1:] == tuple(range(count))[-1:]
