"""Rules can be asked with thresholds far from any number: so an experiment reads what is no longer too large."""

import pytest
import torch

from isometry.checking.experiments import RELAXED
from isometry.findings import RULES
from isometry.probes.evidence import NotMeasuredError, gather, measure
from tests.findings import (
    broken_arithmetic,
    broken_outputs,
    broken_signal,
    broken_weights,
    sound_losses,
    sound_signal,
    sound_weights,
)
from tests.findings.broken import BROKEN
from tests.findings.networks import SOUND

FILLED = (
    broken_arithmetic,
    broken_outputs,
    broken_signal,
    broken_weights,
    sound_losses,
    sound_signal,
    sound_weights,
)  # importing them fills the tables
PROGRAMS = {**{name: build for name, (_, build) in BROKEN.items()}, **SOUND}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_rule_can_be_asked_with_thresholds_that_every_number_is_beyond(name: str) -> None:
    torch.manual_seed(0)
    kinds = [kind for rule in RULES.values() for kind in rule.measurements]
    evidence = gather(PROGRAMS[name](), kinds)
    asked = 0
    for rule in RULES.values():
        try:
            measured = [measure(evidence, kind) for kind in rule.measurements]
        except NotMeasuredError:
            continue
        for limit in (-RELAXED, RELAXED):
            drafts = list(rule.with_thresholds(dict.fromkeys(rule.thresholds, limit))(*measured))
            asked += 1

            assert all(draft.remedy.text for draft in drafts), rule.code
    assert asked
