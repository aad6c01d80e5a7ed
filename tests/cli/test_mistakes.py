"""Each mistake of a user gives exit code 2 and one sentence: what was found, what is needed, what to do."""

from pathlib import Path

import pytest

from tests.cli.builders import __file__ as builders_file
from tests.cli.running import built, invoke

IN_BUILDERS = f"{builders_file}:"


def complaint(*words: str | Path) -> str:
    """Run a command that must be refused, and return what it says."""
    result = invoke(*words)

    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("raising", ["raised KeyError: 'width'", IN_BUILDERS, "Call it by itself"]),
        ("exiting", ["called sys.exit(3)", IN_BUILDERS]),
        ("with_arguments", ["needs arguments", "'width'", "called without any", "returns with_arguments(...)"]),
        ("nothing", ["gives None", "a torch.nn.Module", "return"]),
        ("number", ["gives int", "is needed"]),
        ("a_list", ["a list of 2: Sequential, Tensor", "Return a tuple instead"]),
        ("swapped", ["a tuple of 2: Tensor, Sequential", "The model comes first."]),
        ("a_class", ["a tuple of 2: the class Small, Tensor", "Make an instance: Small(...)."]),
        ("six", ["a tuple of 6", "At most 5 parts have a meaning."]),
        ("instance", ["without inputs", "Return (model, inputs)", "--input 8x3x32x32"]),
        ("a_word_for_a_loss", ["loss is 'cross_entropy'", "F.cross_entropy"]),
        ("a_class_for_a_loss", ["loss is the class CrossEntropyLoss", "Make an instance: CrossEntropyLoss()."]),
        ("a_word_for_an_optimizer", ["optimizer_factory is 'adam'", "torch.optim.SGD"]),
        ("stream", ["has no length", "next(iter(loader))"]),
        ("loader_of_three", ["gives 3 parts", "a tuple for several inputs"]),
        ("unreadable_data", ["taking a batch", "FileNotFoundError: no image", IN_BUILDERS]),
    ],
)
def test_what_a_builder_does_wrong_is_told(name: str, parts: list[str]) -> None:
    said = complaint("check", built(name))

    assert said.startswith("BuilderError: ")
    assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("wrong_width", ["in '0' (Linear(in_features=8", "linear((64, 7), (8, 8), (8,))", "RuntimeError: mat1 and"]),
        ("doubles", ["in '0'", "The batch holds float64 and the parameters float32", "inputs.to(torch.float32)"]),
        ("whole_numbers", ["in '0'", "The batch holds int64 and the parameters float32"]),
        ("an_array", ["in '0'", "TypeError", "numpy.ndarray", "torch.as_tensor(inputs)"]),
        ("unknown_keyword", ["the model itself (Small)", "'input_ids'", "(inputs: torch.Tensor, *, scale: float"]),
        ("floats_into_an_embedding", ["in '0' (Embedding(10, 8))", "whole numbers", ".long()"]),
        ("too_large_ids", ["embedding((4, 3), (10, 8))", "IndexError: index out of range", "largest id"]),
        ("on_meta", ["The batch is on meta and the model on cpu", "move both to one device"]),
        ("empty", ["the batch is empty", "shape (0, 8)", "at least one example"]),
        ("empty_task", ["the batch is empty"]),
        ("without_parameters", ["Sequential has no parameters", "nn.ModuleList"]),
        ("lazy", ["'0.weight' is lazy", "model(inputs)"]),
        ("vector_loss", ["the loss has shape (64,)", "a scalar is needed", "reduction='mean'"]),
        ("number_loss", ["the loss is a float", "a scalar tensor is needed"]),
        (
            "failing_loss",
            ["outside of its layers", "cross_entropy((64, 4), (5,))", "ValueError", "another number of rows"],
        ),
        ("exiting_loss", ["sys.exit('no loss today')", IN_BUILDERS]),
        ("only_labels", ["without a floating tensor", "Give a loss"]),
    ],
)
def test_a_model_that_fails_on_its_batch_is_told_with_layer_and_shapes(name: str, parts: list[str]) -> None:
    said = complaint("check", built(name))

    assert said.startswith("ModelError: ")
    assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("all_frozen", ["PAR101", "requires_grad_(True)"]),
        ("constant_loss", ["PAR101", "the loss is a constant: no parameter leads to it", ".item()"]),
    ],
)
@pytest.mark.parametrize("command", ["check", "fix"])
def test_what_leaves_nothing_to_learn_is_a_finding(command: str, name: str, parts: list[str]) -> None:
    result = invoke(command, built(name))
    said = " ".join(result.stdout.split())

    assert result.exit_code == 1
    assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param("def build(:\n", ["SyntaxError", "model.py:1)", "python "], id="syntax error"),
        pytest.param("import nosuchlibrary\n", ["ModuleNotFoundError: No module named", "model.py:1)"], id="import"),
        pytest.param("x = 1\nraise SystemExit\n", ["called sys.exit()", "model.py:2)"], id="a script that exits"),
        pytest.param("a\0b", ["null bytes"], id="no text at all"),
        pytest.param("import torch\nbuilder = 3\n", ["has no 'build'", "Did you mean 'builder'?"], id="near name"),
        pytest.param("", ["has no 'build'", "nothing public"], id="empty file"),
    ],
)
def test_what_a_file_does_wrong_is_told_with_its_line(tmp_path: Path, content: str, parts: list[str]) -> None:
    place = tmp_path / "model.py"
    place.write_text(content)
    said = complaint("check", f"{place}:build")

    assert [part for part in [*parts, str(place)] if part not in said] == [], said


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("nosuch.py:build", "there is no file 'nosuch.py'"),
        ("model.py", "'model.py' names no builder"),
        (":build", "':build' names no builder"),
        ("notes.txt:build", "'notes.txt' is no Python file"),
        ("folder:build", "'folder' is a folder"),
        ("folder.py:build", "a folder but no file 'folder.py'"),
        ("folder/model:build", "'folder/model' is no module"),
        ("no_such_module:build", "there is no module 'no_such_module'"),
        ("os.path.nothing:build", "there is no module 'os.path.nothing'"),
    ],
)
def test_a_word_that_leads_nowhere_is_told_with_the_form_that_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.py").mkdir()
    said = complaint("check", word)

    assert part in said
    assert "Write path/to/file.py:name or package.module:name." in said


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("8,8", "is no shape"),
        ("", "is no shape"),
        ("8x", "is no shape"),
        ("8x0", "is no shape"),
        ("8x-1", "is no shape"),
        ("8x1e3", "is no shape"),
        ("8x8:flot32", "names the type 'flot32', which torch lacks"),
        ("8x8:Tensor", "names the type 'Tensor', which torch lacks"),
        ("99999999x9999999", "cannot be made: RuntimeError"),
        ("8x8:quint8", "cannot be made: RuntimeError"),
    ],
)
def test_input_words_that_are_no_shape_are_told(words: str, part: str) -> None:
    said = complaint("check", built("instance"), "--input", words)

    assert f"--input {words!r} {part}" in said


@pytest.mark.parametrize("command", ["check", "fix"])
@pytest.mark.parametrize(
    ("place", "part"),
    [
        pytest.param("missing/file", "does not exist. Make it first", id="folder missing"),
        pytest.param("folder", "is a folder, but a file is to be written", id="a folder"),
        pytest.param("note/file", "is a file, but a folder is needed", id="below a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_builder_runs(
    tmp_path: Path, command: str, place: str, part: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "note").touch()
    option = "--html" if command == "check" else "--out"
    said = complaint(command, built("interrupted"), option, tmp_path / place)

    assert said.startswith("OutputError: ")
    assert part in said


def test_a_pattern_that_protects_nothing_is_told_with_a_name_that_exists() -> None:
    said = complaint("fix", built("quadruple"), "--protect", "0.wieght")

    assert "--protect '0.wieght' matches none of the 6 parameters; one of them is named '0.weight'" in said


def test_training_that_fails_in_the_race_is_told() -> None:
    result = invoke("fix", built("failing_optimizer"), "--race", "--race-steps", "2")

    assert result.exit_code == 2
    assert "the race failed" in result.stderr
    assert f"ValueError: no rate was given ({IN_BUILDERS}" in result.stderr
    assert "leave out --race" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["chek", "model.py:build"],
        ["check", "model.py:build", "--seed", "-1"],
        ["check", "model.py:build", "--seed", str(2**63)],
        ["check", "model.py:build", "--batch", "0"],
        ["fix", "model.py:build", "--race-steps", "0"],
        ["check", "model.py:build", "--nosuch"],
    ],
)
def test_words_that_are_no_command_are_misuse(words: list[str]) -> None:
    assert invoke(*words).exit_code == 2
