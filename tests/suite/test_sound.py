import pytest

from tests.suite import programs
from tests.suite.case import SOUND
from tests.suite.known import ALARMED
from tests.suite.measuring import Verdict, verdict_of

pytestmark = pytest.mark.slow

assert programs  # reading it has entered all programs into the table


def cases() -> list[object]:
    return [
        pytest.param(name, marks=pytest.mark.xfail(reason=ALARMED[name])) if name in ALARMED else name for name in SOUND
    ]


@pytest.mark.parametrize("name", cases())
def test_a_sound_program_gets_no_alarm(name: str) -> None:
    verdict = verdict_of(SOUND[name].build, seed=0)

    assert verdict == Verdict()
