from isometry._phrases import Phrase
from isometry.lab.apparatus.claims import claim_in_points


def test_a_claim_in_points_is_open_on_the_side_that_is_not_given() -> None:
    text = Phrase("the test error falls")

    assert [claim_in_points(text, gap, low=2.0).is_held for gap in (1.9, 2.0, 1e9)] == [False, True, True]
    assert [claim_in_points(text, gap, high=2.0).is_held for gap in (-1e9, 2.0, 2.1)] == [True, True, False]
    assert claim_in_points(text, 0.0).unit == "points"
