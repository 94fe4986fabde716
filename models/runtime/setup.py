"""The one place that sets TensorFlow and Keras up: seeds, determinism, precision, XLA, devices."""

import gc

import keras
import tensorflow as tf
from absl import logging

from models.runtime import tuning


def set_up(*, seed: int, deterministic: bool, tuned_kernels: bool, mixed_precision: str = "") -> None:
    """Sets every random seed and the global policies of a search or a training.

    Args:
        seed: Of Python, NumPy and TensorFlow; 0 or more.
        deterministic: Turns on TensorFlow's op determinism: same seed, same bits on the same device. On a GPU this
            costs speed, and an operation that has no deterministic kernel there raises an error.
        tuned_kernels: Whether the tuned TensorFlow paths are used (models/networks/kernels.py) or plain Keras
            operations.
        mixed_precision: "" for float32, "bfloat16" or "float16" (then with loss scaling).

    Raises:
        ValueError: `mixed_precision` is none of these.
    """
    if mixed_precision not in ("", "bfloat16", "float16"):
        raise ValueError(f"mixed_precision: found {mixed_precision!r}; expected '', 'bfloat16' or 'float16'.")
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    tuning.set_tuned(tuned_kernels)
    keras.mixed_precision.set_global_policy(f"mixed_{mixed_precision}" if mixed_precision else "float32")
    # Modules are never garbage, and there are a million objects in them. Left out of the garbage collections to come,
    # these are quick and frequent, and dropped programs (models/search/path_training.py) do not pile up.
    gc.collect()
    gc.freeze()


def use_xla(asked: bool) -> bool:
    """Returns whether to compile with XLA: when asked and on a GPU.

    On the CPU XLA is many times slower for depthwise convolutions, so it is never used there.
    """
    if asked and not tf.config.list_physical_devices("GPU"):
        logging.warning("XLA was asked for, but there is no GPU; on the CPU it is many times slower and stays off.")
        return False
    return asked


def strategy() -> tf.distribute.Strategy:
    """Returns MirroredStrategy where several GPUs (or several logical CPUs) are there, else the default strategy."""
    for kind in ("GPU", "CPU"):
        devices = tf.config.list_logical_devices(kind)
        if len(devices) > 1:
            return tf.distribute.MirroredStrategy([device.name for device in devices])
        if devices:
            break
    return tf.distribute.get_strategy()
