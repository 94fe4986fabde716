"""Tests of benchmarks/search_quality/recipes.py."""

import math

import keras
import numpy as np
import pytest

from benchmarks.search_quality import recipes


def run(accuracy, macs=2_000_000):
    return {"accuracy": accuracy, "epochs": 3, "seconds": 20.0, "params": 1234, "macs": macs}


def test_a_row_is_compared_with_base_seed_by_seed():
    results = {
        "plain": {"epochs": 3, "runs": {"0": run(0.5, None)}},
        "base": {"epochs": 3, "runs": {"0": run(0.6), "1": run(0.7), "2": run(0.8)}},
        "other": {"epochs": 3, "runs": {"0": run(0.61), "1": run(0.73), "3": run(0.1)}},
        "waiting": {"runs": {}},
    }
    plain, base, other = (line.split() for line in recipes.table(results)[1:])
    assert plain == ["plain", "3", "1,234", "20", "0.5000", "-0.1000", "inf"]
    assert base == ["base", "3", "1,234", "2.0", "20", "0.7000"]
    # Differences 0.01 and 0.03: deviation 0.0141, and Student's t with one degree of freedom is 12.706.
    assert other[6:] == ["+0.0200", f"{12.706 * 0.02 / 2:.4f}"]


def test_a_single_value_has_no_interval():
    assert recipes.interval([0.1]) == math.inf
    assert recipes.interval([0.1, 0.1, 0.1]) == 0


@pytest.mark.parametrize("name", [*recipes.ROWS, *recipes.TAUGHT])
def test_every_row_is_a_valid_training(name):
    row = {**recipes.ROWS, **recipes.TAUGHT}[name]
    train = recipes.settings_of(row, size=32, digits=False, epochs=20).train
    assert train.epochs == 20 and train.warmup_epochs < 20
    assert (
        row == recipes.Row()
        or train != recipes.settings_of(recipes.Row(), 32, False, 20).train
        or (row.operations != ("fast",))
    )


def test_digits_are_not_mirrored():
    assert not recipes.settings_of(recipes.Row(), size=8, digits=True, epochs=1).train.flip


@pytest.mark.parametrize("name", ["plain", "base"])
def test_a_row_trains_for_the_epochs_that_fit_and_then_for_the_same_number(name):
    training, held_out = recipes.digit_images(200, 100)
    assert not {image.tobytes() for image in training.images} & {image.tobytes() for image in held_out.images}
    trainings = recipes.Trainings(training, held_out, size=8, digits=True)
    first = trainings.run(recipes.ROWS[name], seed=0, seconds=2.0, epochs=None)
    again = trainings.run(recipes.ROWS[name], seed=0, seconds=2.0, epochs=first["epochs"])
    assert first["epochs"] > 1 and first["accuracy"] > 0.2
    # The steps that were timed left no trace.
    assert again["accuracy"] == pytest.approx(first["accuracy"])
    assert np.isfinite(again["seconds"]) and again["params"] == first["params"] > 1000


def test_a_teacher_has_learned_from_the_training_images_and_teaches_them(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.AveragePooling2D(2), keras.layers.Flatten()])
    model.save(tmp_path / "net.keras")
    training, held_out = recipes.digit_images(200, 100)
    trainings = recipes.Trainings(training, held_out, size=8, digits=True, pretrained=str(tmp_path / "net.keras"))
    found = trainings.pretrained()
    assert found["accuracy"] > 0.7 and found["params"] == 17 * 10 and found["epochs"] == 0
    assert trainings.run(recipes.TAUGHT["plain, teacher"], seed=0, seconds=1.0, epochs=2)["epochs"] == 2
