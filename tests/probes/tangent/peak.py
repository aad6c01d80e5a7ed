"""Measures what torch's allocator on the CPU holds at most while a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

from torch.profiler import ProfilerActivity, profile


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """Give a list that holds, after the block, the most bytes beyond those at its start."""
    found: list[int] = []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        yield found
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    found.append(max(accumulate(changes), default=0))
