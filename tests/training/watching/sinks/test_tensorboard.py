import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isometry._errors import MissingExtraError
from isometry.report.run.facts import Event
from isometry.training.watching.sinks.tensorboard import TensorBoard
from tests.report.run.cases import BACK, SPIKE, blank, run

accumulation = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="the event files are read by TensorBoard itself"
)


@pytest.fixture
def read_back(tmp_path: Path) -> object:
    facts = run(steps=30, depth=2)
    sink = TensorBoard(tmp_path)
    sink.start(blank())
    for entry in (*facts.readings, replace(facts.readings[-1], losses=()), Event(step=12, finding=SPIKE), BACK):
        sink.write(entry)
    for evaluation in run(steps=200).evaluations:
        sink.write(evaluation)
    sink.close(facts)
    found = accumulation.EventAccumulator(str(tmp_path))
    found.Reload()
    return found


def test_every_loss_stands_at_its_step(read_back: object) -> None:
    losses = read_back.Scalars("loss")  # pyright: ignore[reportAttributeAccessIssue]
    facts = run(steps=30, depth=2)

    assert [each.step for each in losses] == list(range(1, 31))
    assert losses[-1].value == pytest.approx(facts.readings[-1].losses[-1])


def test_numbers_of_layers_and_evaluations_are_there_by_name(read_back: object) -> None:
    tags = read_back.Tags()["scalars"]  # pyright: ignore[reportAttributeAccessIssue]

    assert {"layers/0/activation_rms", "layers/2/weight/update_ratio", "run/noise_scale", "learning_rate/0"} <= set(
        tags
    )
    assert [each.step for each in read_back.Scalars("evaluation/val_loss")] == [100, 200]  # pyright: ignore[reportAttributeAccessIssue]


def test_events_and_faults_are_there_as_text(read_back: object) -> None:
    events = read_back.Tensors("events/text_summary")  # pyright: ignore[reportAttributeAccessIssue]
    words = [each.tensor_proto.string_val[0].decode() for each in events]

    assert [each.step for each in events] == [12, 700]
    assert "TRN106 loss-spike" in words[0]
    assert "training went back to step 600" in words[1]


def test_without_tensorboard_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'isometry\[tensorboard\]'"):
        TensorBoard(tmp_path)
