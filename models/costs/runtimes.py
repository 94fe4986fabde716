"""Functions of tensors, made ready to run by the runtime of a device."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.runtime.quiet import quiet

TENSORFLOW, LITERT = "tensorflow", "litert"
BACKENDS = (TENSORFLOW, LITERT)
"""TensorFlow's own runtime with a traced function, and LiteRT with float32 numbers."""


def set_threads(threads: int) -> None:
    """Sets the threads of TensorFlow's runtime. LiteRT takes its threads from `ready`.

    Args:
        threads: Their number.

    Raises:
        RuntimeError: TensorFlow has started already with another number.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def device() -> dict[str, Any]:
    """Returns what describes the device of this process, as JSON values."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "tensorflow": tf.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def ready(
    function: Callable[..., Any], shapes: Sequence[tuple[int, ...]], backend: str, threads: int
) -> Callable[[], object]:
    """Returns a call that computes a function and returns when its output is in the memory of this process.

    Args:
        function: Takes and returns float32 tensors.
        shapes: The shape of each input, with the batch.
        backend: One of `BACKENDS`.
        threads: The threads of LiteRT.
    """
    traced = tf.function(
        function, input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes], autograph=False
    ).get_concrete_function()
    random = np.random.default_rng(0)
    values = [random.standard_normal(shape, np.float32) for shape in shapes]
    if backend == TENSORFLOW:
        tensors = [tf.constant(value) for value in values]
        # The function refers to the variables of its layers weakly, so the call keeps it alive.
        return lambda function=function: traced(*tensors).numpy()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], tf.Module())
    with quiet():
        interpreter = tf.lite.Interpreter(model_content=converter.convert(), num_threads=threads)
        interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], value)
    (made,) = interpreter.get_output_details()

    def call():
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    return call
