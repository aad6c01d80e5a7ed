import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import IsometryError, UnknownNameError
from isometry._registry import Registry

NAMES = st.text("abcdefgh-", min_size=1, max_size=8)


def registry(*names: str) -> Registry[int]:
    made = Registry[int]("scheme")
    for number, name in enumerate(names):
        made.add(name)(number)
    return made


@given(names=st.lists(NAMES, unique=True, max_size=6))
def test_things_come_back_under_their_names_in_the_order_they_were_added(names: list[str]) -> None:
    made = registry(*names)

    assert list(made) == names
    assert [made[name] for name in names] == list(range(len(names)))
    assert len(made) == len(names)


@given(names=st.lists(NAMES, unique=True, max_size=6), wrong=NAMES)
def test_a_name_is_in_or_raises_with_all_that_are(names: list[str], wrong: str) -> None:
    made = registry(*names)
    if wrong in names:
        assert wrong in made
        return
    with pytest.raises(UnknownNameError) as caught:
        made[wrong]

    assert wrong not in made
    assert f"no scheme is named {wrong!r}." in str(caught.value)
    assert f"Known: {', '.join(sorted(names))}." in str(caught.value)


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(LookupError, match=r"Did you mean 'he-normal'\?") as caught:
        registry("he-normal", "orthogonal")["he-norml"]

    assert isinstance(caught.value, IsometryError)


def test_a_name_is_given_once() -> None:
    with pytest.raises(AssertionError, match="'he-normal' is defined twice"):
        registry("he-normal", "he-normal")


def test_the_decorator_gives_the_thing_back() -> None:
    thing = object()

    assert Registry[object]("thing").add("it")(thing) is thing
