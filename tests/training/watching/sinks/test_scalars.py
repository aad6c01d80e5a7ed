import math

from isometry.probes.running.readings import Evaluation, LayerReading, ParameterReading, Reading
from isometry.training.watching.sinks.scalars import metrics_of, scalars_of

READING = Reading(
    step=7,
    seconds=1.5,
    losses=(0.3, 0.2),
    learning_rates=(0.1, 0.01),
    layers=(LayerReading(name="layers.0", kind="linear", activation_rms=0.9, dead_share=0.0),),
    parameters=(ParameterReading(name="layers.0.weight", weight_rms=2.0, gradient_rms=math.nan, update_rms=0.5),),
    gradient_norm=3.0,
)


def test_every_number_that_was_measured_has_a_name_with_slashes() -> None:
    found = scalars_of(READING)

    assert math.isnan(found.pop("layers/0/weight/gradient_rms"))
    assert found == {
        "learning_rate/0": 0.1,
        "learning_rate/1": 0.01,
        "run/gradient_norm": 3.0,
        "run/seconds": 1.5,
        "layers/0/activation_rms": 0.9,
        "layers/0/dead_share": 0.0,
        "layers/0/weight/weight_rms": 2.0,
        "layers/0/weight/update_rms": 0.5,
        "layers/0/weight/update_ratio": 0.25,
    }


def test_the_numbers_of_an_evaluation_stand_together() -> None:
    assert metrics_of(Evaluation(step=3, metrics={"val_loss": 0.5})) == {"evaluation/val_loss": 0.5}
    assert metrics_of(Evaluation(step=3, epoch=2, metrics={})) == {"evaluation/epoch": 2}
