import pytest

from isometry.probes.running.trouble import Trouble


def test_the_first_error_is_kept_until_it_is_told_once() -> None:
    trouble = Trouble()
    for words in ("first", "second"):
        with trouble:
            raise ValueError(words)

    assert trouble.is_there
    with pytest.raises(ValueError, match="first"):
        trouble.tell()
    trouble.tell()
    assert not trouble.is_there


def test_an_interrupt_goes_through() -> None:
    trouble = Trouble()

    with pytest.raises(KeyboardInterrupt), trouble:
        raise KeyboardInterrupt
    assert not trouble.is_there
