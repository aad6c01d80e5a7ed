"""Every rule has a program in its page on which it fires."""

import runpy
from importlib.resources import files
from typing import Any

import pytest
import torch

from isometry.anatomy.builders import load_task, load_task_or_model, seed_everything
from isometry.auditing.audit import audit
from isometry.checking.check import diagnose
from isometry.findings import AUDIT_RULES, RULES, WATCH_RULES
from isometry.repair import plan

FOLDER = files("isometry.findings.examples")
OF_AUDIT = sorted(set(AUDIT_RULES) - set(RULES))
OF_WATCH = sorted(set(WATCH_RULES) - set(RULES))


def program(code: str) -> str:
    return str(FOLDER.joinpath(f"{code.lower()}.py"))


def test_there_is_one_program_a_rule() -> None:
    programs = {each.name.removesuffix(".py").upper() for each in FOLDER.iterdir() if each.name[-4:-3].isdigit()}

    assert programs == {*RULES, *AUDIT_RULES, *WATCH_RULES}


@pytest.mark.parametrize("code", sorted(RULES))
@pytest.mark.filterwarnings("ignore:Using a target size")  # what torch says of DAT103
def test_a_rule_of_check_fires_on_its_program(code: str) -> None:
    with torch.random.fork_rng():
        seed_everything(0)
        found = diagnose(load_task(f"{program(code)}:build"))

    assert code in {finding.code for finding in found.findings}


@pytest.mark.parametrize("code", OF_AUDIT)
def test_a_rule_of_audit_fires_on_its_program(code: str) -> None:
    recipe: Any = runpy.run_path(program(code)).get("RECIPE")
    with torch.random.fork_rng():
        seed_everything(0)
        subject = load_task_or_model(f"{program(code)}:build")
    made = plan(subject, recipe=recipe) if recipe else None

    assert code in {finding.code for finding in audit(subject, made).findings}


@pytest.mark.parametrize("code", OF_WATCH)
@pytest.mark.slow
def test_a_rule_of_watch_fires_on_its_program(code: str) -> None:
    with torch.random.fork_rng():
        seed_everything(0)
        run: Any = runpy.run_path(program(code))["train"]()

    assert code in {event.finding.code for event in run.facts().events}
