"""components/evaluator: what is asked of a model, what it is compared with, and what of that is written down."""

import dataclasses
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from scipy import stats
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components import comparison
from components.evaluator import executor
from models import export
from models.data import dataset_info
from models.data.image_format import ImageFormat
from models.settings import Evaluate
from pipeline import stages
from tests.support import image_fixtures


@pytest.mark.parametrize(
    "counts,label,share,clearly_more",
    [
        ([50, 50], 0, 0.5, 0.63),
        ([36] * 10, 0, 0.1, 51 / 360),
        ([2] * 102, 0, 1 / 102, 7 / 204),  # 5 of 204, an accuracy of 0.0245, may well be luck
        ([100, 900], 1, 0.9, 0.922),
        ([0, 3, 1], 1, 0.75, 1.0),  # too few images: all have to be right
        ([1, 1], 0, 0.5, 1.0),
        ([0, 4], 1, 1.0, 1.0),
    ],
)
def test_clearly_more_than_the_majority_is_what_luck_hardly_reaches(counts, label, share, clearly_more):
    found = comparison.majority(counts)
    assert found == (label, pytest.approx(share), pytest.approx(clearly_more))
    images, needed = sum(counts), round(found[2] * sum(counts))
    assert needed == images or stats.binom.sf(needed - 1, images, share) < 0.01 <= stats.binom.sf(
        needed - 2, images, share
    )


def test_a_model_that_may_have_learned_nothing_is_told_of():
    found = comparison.Comparison(0.0, 0.1, "cat", 0.5, 0.63)
    assert found.failure(0.63) is None
    assert found.failure(float(np.float32(0.63))) is None
    assert "than 0.5000, the accuracy of always guessing 'cat': 0.6300 would be clearly more." in found.failure(0.62)


def test_what_is_written_is_read_again(tmp_path):
    written = comparison.Comparison(0.5, 0.1, "cat", 0.2, 0.3, 0.9, None)
    comparison.write(str(tmp_path), written)
    assert comparison.read(str(tmp_path)) == written


def _picture(bright: bool, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 40, (8, 8, 3)).astype(np.uint8)
    return tf.io.encode_png(pixels + np.uint8(200 * bright)).numpy()


def _examples(folder):
    """Writes twelve dark cats and eight bright dogs; `test` is all of them."""
    images = [(str(number), int(number >= 12), _picture(number >= 12, number)) for number in range(20)]
    examples = image_fixtures.write_examples(folder, {"test": images})
    dataclasses.replace(dataset_info.load(folder), counts={"test": (12, 8)}).save(folder)
    return examples


def _model(folder, class_names=("cat", "dog"), right=True):
    """Exports a model that knows dark from bright, or one that takes all for the first class."""
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(len(class_names))]
    )
    kernel = np.zeros((3, len(class_names)), np.float32)
    kernel[:, 1] = 5.0 if right else 0.0
    network.layers[-1].set_weights([kernel, np.array([0.1] + [0.0] * (len(class_names) - 1), np.float32)])
    model = standard_artifacts.Model()
    model.uri = str(folder)
    export.export_model(
        network,
        os.path.join(folder, "Format-Serving"),
        image_format=ImageFormat((8, 8, 3)),
        class_names=class_names,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    return model


def _evaluate(tmp_path, model, baseline, beam_args=image_fixtures.BEAM_ARGS):
    """Runs the executor; returns the comparison, whether the model was blessed, and the failures of TFMA."""
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(tmp_path / "tmp"), unique_id="1"
    )
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(tmp_path / "evaluation"), str(tmp_path / "blessing")
    config = stages.evaluation(Evaluate(accuracy_threshold=None))
    executor.Executor(context).Do(
        {"examples": [_examples(tmp_path / "examples")], "model": [model], "baseline_model": baseline},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {"eval_config": proto_utils.proto_to_json(config), "example_splits": '["test"]'},
    )
    failures = tfma.load_validation_result(evaluation.uri).metric_validations_per_slice
    return comparison.read(evaluation.uri), blessing.get_int_custom_property("blessed") == 1, len(failures)


def test_a_model_is_compared_with_the_majority_and_with_a_baseline_of_the_same_classes(tmp_path):
    models = _model(tmp_path / "model"), _model(tmp_path / "baseline", right=False)
    found, blessed, _ = _evaluate(tmp_path, models[0], [models[1]])
    assert blessed
    assert found == comparison.Comparison(
        threshold=0.9,
        chance=0.5,
        majority_class="cat",
        majority_share=0.6,
        clearly_more=0.9,
        baseline_accuracy=pytest.approx(0.6),
    )


def test_always_guessing_is_not_blessed_and_other_classes_are_not_compared_with(tmp_path):
    baseline = [_model(tmp_path / "baseline", ("cat", "dog", "fox"))]
    found, blessed, failures = _evaluate(tmp_path, _model(tmp_path / "model", right=False), baseline)
    assert (blessed, failures) == (False, 1)
    assert (found.threshold, found.baseline_accuracy) == (0.9, None)
    assert found.baseline_not_compared == "its classes are different (removed: 'fox')"


def test_the_metrics_do_not_depend_on_the_workers(tmp_path):
    workers = ["--direct_running_mode=multi_threading", "--direct_num_workers=2", "--requirements_file=/dev/null"]
    found = []
    for name, beam_args in (("one", image_fixtures.BEAM_ARGS), ("two", workers)):
        _evaluate(tmp_path / name, _model(tmp_path / name / "model"), [], beam_args)
        found.append(sorted(map(str, tfma.load_metrics(str(tmp_path / name / "evaluation")))))
    assert found[0] == found[1]
    assert len(found[0]) == 3  # all images, and each class


@pytest.mark.parametrize("given,asked", [(None, 0.63), (0.0, 0.0), (1.0, 1.0)])
def test_a_threshold_that_is_given_is_taken_as_it_is(given, asked):
    config = stages.evaluation(Evaluate(accuracy_threshold=given))
    assert executor._complete(config, 0.63) == asked
    (least,) = (
        threshold.threshold.value_threshold.lower_bound.value
        for metric in config.metrics_specs[0].metrics
        for threshold in metric.per_slice_thresholds
    )
    # A model of just this accuracy passes, counted in float32.
    assert least <= float(np.float32(asked)) and least == pytest.approx(asked, abs=1e-6)
