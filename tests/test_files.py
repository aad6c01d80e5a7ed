import os
from pathlib import Path

import pytest

from isometry._errors import OutputError
from isometry._files import require_place, write_atomically, write_text_atomically


def test_a_file_is_made_and_then_replaced(tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    write_text_atomically(place, "first ✓")
    write_text_atomically(place, "second")

    assert place.read_text(encoding="utf-8") == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_an_interrupt_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "report.html"
    place.write_text("old")

    def interrupt(*_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text_atomically(place, "new")

    assert place.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_text_that_has_no_bytes_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(tmp_path / "report.html", "\ud800")

    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link_and_rights_stay(tmp_path: Path) -> None:
    place, link = tmp_path / "report.html", tmp_path / "latest.html"
    place.write_text("old")
    place.chmod(0o640)
    link.symlink_to(place)
    write_text_atomically(link, "new")

    assert link.is_symlink()
    assert place.read_text() == "new"
    assert place.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_usual_rights_whatever_its_writer_gives(tmp_path: Path) -> None:
    usual, private = tmp_path / "usual", tmp_path / "private"
    usual.touch()

    def write(draft: Path) -> None:
        draft.unlink()
        draft.touch(mode=0o600)

    write_atomically(private, write)

    assert private.stat().st_mode == usual.stat().st_mode


def test_a_writer_that_renames_does_not_take_a_devices_place() -> None:
    def write(draft: Path) -> None:
        other = draft.with_name("other")
        other.write_text("text")
        other.replace(draft)

    write_atomically("/dev/null", write)

    assert Path("/dev/null").is_char_device()


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_text_atomically("/dev/null", "gone")

    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        pytest.param("missing/report.html", "does not exist", id="folder missing"),
        pytest.param(".", "is a folder", id="path is a folder"),
        pytest.param("x" * 300, "cannot be written", id="name too long"),
        pytest.param("note/report.html", "is a file, but a folder is needed", id="below a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "note").touch()
    with pytest.raises(OutputError, match=reason) as caught:
        write_text_atomically(tmp_path / place, "text")

    assert isinstance(caught.value, OSError)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_closed_to_us_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="may not be written by you"):
        require_place(tmp_path / "report.html")


def test_a_refused_write_is_told_without_being_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=r"may not be written by you\. Choose a place"):
        require_place(tmp_path / "report.html")
