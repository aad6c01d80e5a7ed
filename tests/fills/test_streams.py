import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from isometry._errors import DomainError
from isometry.fills.streams import Stream

SEEDS = st.integers(0, 2**64 - 1)
WORDS = st.text(max_size=8)
KNOWN_SEED = 13235626346071458404  # BLAKE2b of '[7, "init", "encoder.0.weight"]', 8 bytes, little-endian


def first_numbers(stream: Stream) -> list[float]:
    return torch.rand(4, generator=stream.generator()).tolist()


@given(seed=SEEDS, purpose=WORDS, name=WORDS)
def test_a_stream_starts_the_same_every_time(seed: int, purpose: str, name: str) -> None:
    assert first_numbers(Stream(seed, purpose, name)) == first_numbers(Stream(seed, purpose, name))


@given(one=st.tuples(SEEDS, WORDS, WORDS), other=st.tuples(SEEDS, WORDS, WORDS))
def test_streams_that_differ_in_any_part_share_no_numbers(
    one: tuple[int, str, str], other: tuple[int, str, str]
) -> None:
    assume(one != other)

    assert first_numbers(Stream(*one)) != first_numbers(Stream(*other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Stream(1, "init", "a.weight"), Stream(1 + 2**32, "init", "a.weight"), id="upper bits of the seed"),
        pytest.param(Stream(1, "init", "weight"), Stream(1, "initw", "eight"), id="where the purpose ends"),
        pytest.param(Stream(1, 'a", "b', "c"), Stream(1, "a", 'b", "c'), id="quotation marks"),
        pytest.param(Stream(1, "", "a\0b"), Stream(1, "a\0", "b"), id="control characters"),
    ],
)
def test_streams_that_look_alike_share_no_numbers(one: Stream, other: Stream) -> None:
    assert first_numbers(one) != first_numbers(other)


def test_a_stream_starts_as_it_did_in_the_first_release() -> None:
    assert Stream(7, "init", "encoder.0.weight").generator().initial_seed() == KNOWN_SEED


def test_making_a_generator_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()

    Stream(0, "init", "weight").generator()

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(DomainError, match=r"is outside \[0, 2\*\*64\)"):
        Stream(seed, "init", "weight")
