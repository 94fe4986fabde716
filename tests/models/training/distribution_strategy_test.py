"""Several replicas make the step of one device. Two logical CPU devices stand for two GPUs; they must be set up before
TensorFlow starts, so this file runs itself in a process of its own."""

import json
import os
import subprocess
import sys

import pytest


def _compute():
    """Trains the same on one device and on two; prints what came out."""
    import keras
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from models.networks import layers
    from models.search.path_training import PathTrainer
    from models.training.optimizer import SGD
    from tests.support.two_choices import CLASSES, PATH, SIDE, TwoChoices

    rng = np.random.default_rng(0)
    images = rng.normal(size=(14, SIDE, SIDE, 3)).astype("float32")
    labels = rng.integers(CLASSES, size=14).astype("int32")
    # Seven images make uneven shares.
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(7)

    def search():
        keras.utils.set_random_seed(0)
        trainer = PathTrainer(TwoChoices(), gradient_clip=0.05)
        metrics = trainer.train_epoch(PATH, batches, 0.05)
        judged = trainer.evaluate(PATH, batches, batches)
        return metrics, judged, [value.tolist() for value in trainer.state().values()]

    def fit():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                layers.Conv2D(4, 3),
                layers.BatchNorm(),
                layers.DepthwiseConv2D(5),
                layers.BatchNorm(),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(CLASSES),
            ]
        )
        model.build((None, SIDE, SIDE, 3))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(SGD(0.1, weight_decay=0.01, global_clipnorm=0.1), loss, jit_compile=False)
        pairs = tf.data.Dataset.from_tensor_slices((images[:12], labels[:12])).batch(6)
        model.fit(pairs, epochs=2, shuffle=False, verbose=0)
        return [value.tolist() for value in model.get_weights()]

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    results = {"one": {"search": search(), "fit": fit()}}
    with strategy.scope():
        results["two"] = {"search": search(), "fit": fit()}
    print(json.dumps(results))


@pytest.fixture(scope="module")
def results():
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


def _flat(nested):
    return [x for item in nested for x in _flat(item)] if isinstance(nested, list) else [nested]


def test_two_replicas_train_and_judge_a_path_as_one_device_does(results):
    (trained, judged, state), (trained_2, judged_2, state_2) = (results[key]["search"] for key in ("one", "two"))
    assert trained_2 == pytest.approx(trained, rel=1e-4)
    assert judged_2 == pytest.approx(judged, rel=1e-4)
    assert _flat(state_2) == pytest.approx(_flat(state), rel=1e-3, abs=1e-4)


def test_two_replicas_fit_as_one_device_does(results):
    assert _flat(results["two"]["fit"]) == pytest.approx(_flat(results["one"]["fit"]), rel=1e-3, abs=1e-4)


if __name__ == "__main__":
    _compute()
