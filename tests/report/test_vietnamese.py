"""Reports in Vietnamese: nothing they say is left in English, and nothing in the catalogue is said by no report."""

import string
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from isometry._errors import UnknownNameError
from isometry._phrases import Phrase
from isometry.auditing.audit import audit
from isometry.auditing.result import AuditReport
from isometry.checking.check import check, diagnose
from isometry.checking.settings import Settings
from isometry.probes.race_result import RaceResult
from isometry.repair import RepairReport, fix
from isometry.report import language
from isometry.report.diagnosis import Diagnosis
from isometry.report.language import catalogue, say, speaking
from isometry.report.page import page
from isometry.report.race import RaceReport
from isometry.report.terminal import TerminalReport, plain_text, terminal_text
from tests.cli.running import built, invoke
from tests.findings import broken_arithmetic, broken_outputs, broken_signal, broken_weights
from tests.findings.broken import BROKEN
from tests.report.cases import broken, race, repaired
from tests.report.words import asked, constants, written

assert all((broken_arithmetic, broken_outputs, broken_signal, broken_weights))  # importing them fills the table
TABLES: dict[str, dict[str, str]] = tomllib.loads(
    Path(language.__file__).with_name("vi.toml").read_text(encoding="utf-8")
)
TRANSLATED = {english: words for table in TABLES.values() for english, words in table.items()}
NAMES_IN_VALUES = ("loss", "head", "layer", "step", "rank", "edge", "none", "after", "number", "outputs")  # of users


def fields(template: str) -> list[tuple[str, str, str]]:
    """Return what is filled into a template, with its format and conversion."""
    parts = string.Formatter().parse(template)
    return sorted((name, form or "", conversion or "") for _, name, form, conversion in parts if name is not None)


def untranslated(templates: Iterable[str]) -> list[str]:
    """Return the templates of the code that the catalogue lacks; names of users are none of them."""
    return sorted((set(templates) & constants()) - set(TRANSLATED))


def texts_of(diagnosis: Diagnosis) -> Iterable[str]:
    """Return every sentence that a diagnosis brings along."""
    for finding in diagnosis.findings:
        yield from (finding.message, finding.cause, finding.unit, finding.remedy.text)
        if finding.proof is not None:
            yield from (finding.proof.change, finding.proof.unit)
    yield from (row.reason for row in diagnosis.skipped)
    yield from diagnosis.warnings
    if diagnosis.jacobian is not None:
        yield diagnosis.jacobian.why_no_theory


def printed(*renderables: object) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(*renderables)
    return capture.get()


def test_every_sentence_in_the_code_is_translated() -> None:
    assert sorted(written() - set(TRANSLATED)) == []


def test_every_word_that_a_report_asks_for_is_translated() -> None:
    with asked() as found:
        for before, after in ((broken(), repaired()), (repaired(), None), (broken(), None)):
            terminal_text(before, lang="vi")
            page(before, after=after, race=race(), plan_rows=[{"parameter": "0.weight", "std": "1"}], lang="vi")
        printed(RaceReport(race(), "vi"))

    assert "Findings before" in found
    assert untranslated(found) == []


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.slow
def test_what_a_broken_network_is_told_is_in_vietnamese_throughout(name: str) -> None:
    torch.manual_seed(0)
    diagnosis = diagnose(BROKEN[name][1](), settings=Settings(jacobian=1))
    with asked() as found:
        terminal_text(diagnosis, lang="vi")
        page(diagnosis, lang="vi")
    templates = {text.template if isinstance(text, Phrase) else text for text in texts_of(diagnosis)}

    assert untranslated(found) == []
    assert sorted(templates - set(TRANSLATED) - {""}) == []


def test_a_translation_fills_in_what_the_template_does() -> None:
    differing = [english for english, words in TRANSLATED.items() if fields(english) != fields(words)]

    assert differing == []


def test_nothing_is_translated_that_no_report_says() -> None:
    assert sorted(set(TRANSLATED) - constants()) == []


def test_no_template_is_translated_twice() -> None:
    assert sum(map(len, TABLES.values())) == len(TRANSLATED)


def test_names_of_users_are_no_words_of_ours() -> None:
    with speaking("vi"):
        told = [say("loss {value} ({name})", value="1", name=name) for name in NAMES_IN_VALUES]

    assert told == [f"mất mát 1 ({name})" for name in NAMES_IN_VALUES]


def test_a_phrase_within_a_phrase_is_translated_too() -> None:
    outcome = Phrase("the verdict is still {verdict}", verdict=Phrase("broken"))
    phrase = Phrase("1 parameter was initialised again; {outcome}.", outcome=outcome)

    assert phrase == "1 parameter was initialised again; the verdict is still broken."
    with speaking("vi"):
        assert say(phrase) == "Đã khởi tạo lại 1 tham số; kết luận vẫn là hỏng."


def test_a_network_that_vanishes_is_told_so_in_vietnamese() -> None:
    torch.manual_seed(0)
    diagnosis = diagnose(BROKEN["sigmoid-30"][1]())
    text = " ".join(terminal_text(diagnosis, width=200, lang="vi").split())

    assert text.startswith("✗ hỏng Sequential · 1 lỗi")
    assert "✗ BWD101 vanishing-gradient · lỗi Gradient giảm" in text
    assert "bậc mười từ tầng ẩn cuối về tầng ẩn đầu (cho phép 4)." in text
    assert "lý do mỗi tầng nhân gradient với" in text
    assert "đã thử được xác nhận: khi" in text
    assert "cách sửa Khởi tạo ở điểm tới hạn của hàm kích hoạt: isometry fix." in text
    for english in (" the ", " of ", "measured", "confirmed", "steps", "loss"):
        assert english not in text


def test_a_reason_with_numbers_is_filled_in_after_it_is_translated() -> None:
    diagnosis = check(torch.nn.Linear(4, 2), torch.randn(1, 4), torch.zeros(1, 2), loss=torch.nn.functional.mse_loss)

    english, vietnamese = (
        plain_text(TerminalReport(diagnosis, lang, is_verbose=True), width=200, encoding="utf-8")
        for lang in ("en", "vi")
    )

    assert "the batch has fewer than 4 samples (DAT102)" in english
    assert "batch có ít hơn 4 mẫu (DAT102)" in vietnamese


def test_english_is_what_stands_in_the_code() -> None:
    with speaking("en"):
        said = {text: say(text) for text in written()}

    assert all(text == words for text, words in said.items())


def test_a_report_leaves_the_language_as_it_was() -> None:
    terminal_text(broken(), lang="vi")
    page(broken(), lang="vi")
    printed(RaceReport(race(), "vi"))

    assert say("healthy") == "healthy"


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_the_page_says_which_language_it_is_in(lang: str) -> None:
    assert f'<html lang="{lang}">' in page(broken(), lang=lang)


def test_a_language_that_nobody_speaks_is_told_with_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match=r"do not speak 'fr'\. Known: en, vi"):
        catalogue("fr")


@pytest.mark.parametrize("command", ["check", "fix", "audit"])
def test_the_command_speaks_vietnamese_and_refuses_what_it_does_not_speak(command: str) -> None:
    spoken = invoke(command, built("pair"), "--lang", "vi")
    refused = invoke(command, built("pair"), "--lang", "fr")

    assert spoken.exit_code == 0, spoken.stderr
    assert "khoẻ mạnh" in spoken.stdout
    assert refused.exit_code == 2
    assert "'fr'" in refused.stderr


def test_a_repair_and_its_page_are_in_vietnamese(tmp_path: Path) -> None:
    torch.manual_seed(0)
    repair = fix(BROKEN["sigmoid-30"][1]())
    repair.save_html(tmp_path / "report.html", lang="vi")
    text = " ".join(printed(RepairReport(repair, "vi")).split())

    assert "tham số thay đổi" in text
    assert "kết luận đi từ hỏng sang khoẻ mạnh. Đã hết: vanishing-gradient" in text
    assert "the verdict went from broken to healthy" in repair.summary
    assert "Các vấn đề trước khi sửa" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_audit_is_in_vietnamese() -> None:
    layer = torch.nn.Linear(4, 4)
    torch.nn.init.constant_(layer.weight, 0.5)
    found = audit(torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Linear(4, 4)))
    text = " ".join(printed(AuditReport(found, "vi")).split())

    assert text.startswith("✗ hỏng Sequential · 4 tensor · 1 lỗi")
    assert "lý do các nơ-ron của nó khởi đầu như một" in text
    assert "its units start as one" in str(found)


def test_a_race_is_in_vietnamese() -> None:
    result: RaceResult = race()
    text = printed(RaceReport(result, "vi"))

    assert text.startswith("Cuộc đua: repaired kết thúc thấp hơn")
    assert "mẫu để riêng" in text
