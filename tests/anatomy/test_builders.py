import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isometry._errors import BuilderError
from isometry.anatomy.builders import load_task, make_inputs, seed_everything
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Batch, Task
from tests.cli.builders import COUNT, INPUTS, reader, stack
from tests.cli.running import BUILDERS, built


@pytest.mark.parametrize(
    ("name", "batch_size", "rows"),
    [
        pytest.param("quadruple", 10, 10, id="a data set gives a part"),
        pytest.param("quadruple", 1000, COUNT, id="a small one all"),
        pytest.param("pair", 10, COUNT, id="inputs without targets are a batch"),
        pytest.param("keywords", 10, COUNT, id="keywords without targets too"),
        pytest.param("loader", 10, 16, id="a loader knows its own size"),
    ],
)
def test_batch_bounds_what_is_taken_from_a_data_set(name: str, batch_size: int, rows: int) -> None:
    batch = load_task(built(name), batch_size=batch_size).batch
    assert isinstance(batch, Batch)
    inputs: Any = batch.inputs["inputs"] if name == "keywords" else batch.inputs
    inputs = inputs[0] if isinstance(inputs, tuple) else inputs

    assert len(inputs) == rows


def test_a_file_that_changed_within_a_second_and_kept_its_length_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    shapes: list[tuple[int, ...]] = []
    for width in (2, 5):
        file.write_text(f"import torch\nfrom torch import nn\n\nnet = nn.Linear(3, {width}), torch.ones(4, 3)\n")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        task = load_task(f"{file}:net")
        shapes.append(tuple(task.model(task.batch.inputs).shape))

    assert shapes == [(4, 2), (4, 5)]
    assert not (tmp_path / "__pycache__").exists()


def test_rows_of_a_data_set_keep_their_targets() -> None:
    batch = load_task(built("quadruple"), batch_size=10, seed=3).batch
    task = load_task(built("quadruple"), batch_size=COUNT)
    rows = [next(row for row in range(COUNT) if torch.equal(INPUTS[row], inputs)) for inputs in batch.inputs]

    assert len(set(rows)) == 10
    assert torch.equal(batch.targets, task.examples.take(rows).targets)  # pyright: ignore - it has examples


@pytest.mark.parametrize(
    ("words", "shape", "dtype"),
    [
        ("8x3x32x32", (8, 3, 32, 32), torch.float32),
        ("5", (5,), torch.float32),
        ("2X3:float64", (2, 3), torch.float64),
        ("2x3:bfloat16", (2, 3), torch.bfloat16),
        ("2x3:torch.int64", (2, 3), torch.int64),
        ("2x3:long", (2, 3), torch.int64),
        ("2x3:uint8", (2, 3), torch.uint8),
        ("2x3:bool", (2, 3), torch.bool),
    ],
)
def test_input_words_make_a_batch(words: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    inputs = make_inputs(words, stack())

    assert (tuple(inputs.shape), inputs.dtype) == (shape, dtype)


def test_integer_inputs_lie_below_the_first_embeddings_size() -> None:
    ids = make_inputs("100x20:int64", reader())

    assert (int(ids.min()), int(ids.max())) == (0, 9)


def test_floating_inputs_are_standard_normal() -> None:
    inputs = make_inputs("200x200", stack(), seed=3)

    assert inputs.mean().abs() < 0.02
    assert (inputs.std() - 1).abs() < 0.02


def test_inputs_for_a_model_without_storage_have_none() -> None:
    assert make_inputs("1000000x8", stack().to("meta")).is_meta


def test_protected_parameters_reach_the_task() -> None:
    task = load_task(built("instance"), input_words="4x8", protect=("*.bias",))

    assert isinstance(task, Task)
    assert task.protected == ("*.bias",)


def test_a_model_word_may_hold_a_colon_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "model.py").write_text(BUILDERS.read_text())

    assert load_task(f"{folder / 'model.py'}:pair").batch.inputs.shape == INPUTS.shape


def test_seeding_fixes_all_that_a_builder_may_draw_from() -> None:
    def draws() -> tuple[float, float, float]:
        return torch.rand(()).item(), np.random.rand(), random.random()  # noqa: NPY002, S311 - the global states

    with preserved(stack(), seed=0):
        seed_everything(2**40)
        first = draws()
        seed_everything(2**40)

        assert draws() == first


def test_the_import_path_is_as_before_also_after_an_error(tmp_path: Path) -> None:
    before = list(sys.path)
    (tmp_path / "model.py").write_text("import sys\nsys.path.append('added')\nraise ValueError\n")
    with pytest.raises(BuilderError, match="ValueError"):
        load_task(f"{tmp_path / 'model.py'}:build")
    added = sys.path.pop()

    assert (added, sys.path) == ("added", before)
