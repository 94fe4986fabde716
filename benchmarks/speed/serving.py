"""How fast an exported model answers, beside the Keras model it was exported from, in one process.

    python -m benchmarks.speed.serving                       # the published cell, 8 cells of 16 channels, 32x32 pixels
    python -m benchmarks.speed.serving --cells=20 --channels=36 --seconds=20

For batches of 1, 8 and 32 images it prints images/s and the median and 99th percentile of the time per call. Every
contender gets the same uint8 images; the SavedModel is loaded as TF Serving loads it (TF1 loader, tag `serve`, a call
of the session with the signature's tensor names). In production the way there and TF Serving's batching come on top.
All contenders take turns call by call, so that a busy moment of the machine hits all of them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

BATCH_SIZES = (1, 8, 32)


def contenders(cells: int, channels: int, image_size: int, directory: str) -> dict[str, Callable]:
    """Returns functions of uint8 images (batch, size, size, 3) by name; each answers with class probabilities."""
    import keras
    import tensorflow as tf

    from models import export
    from models.architectures import presets
    from models.data import preprocessing
    from models.data.image_format import ImageFormat
    from models.networks.cell_network import cifar_network

    keras.utils.set_random_seed(0)
    shape, mean, std = (image_size, image_size, 3), (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    genotype, _ = presets.resolve_architecture("mdenas_cifar10")
    model = cifar_network(genotype, shape, 10, channels=channels, cells=cells)
    export.export_model(
        model,
        directory,
        image_format=ImageFormat(shape),
        class_names=[str(n) for n in range(10)],
        mean=mean,
        std=std,
        top_k=5,
    )
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], directory).signature_def

    def signature(name: str) -> Callable:
        found = signatures[name]
        (given,) = found.inputs.values()
        outputs = [tensor.name for tensor in found.outputs.values()]
        position = list(found.outputs).index("probabilities")
        call = session.make_callable(outputs, [given.name])
        return lambda images: call(images)[position]

    def normalised(images: np.ndarray) -> tf.Tensor:
        return preprocessing.normalise(images, mean, std)

    def softmax(logits: np.ndarray) -> np.ndarray:
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    serve_bytes = signature("serve_bytes")
    return {
        "keras predict": lambda images: softmax(model.predict(normalised(images), batch_size=len(images), verbose=0)),
        "keras predict_on_batch": lambda images: softmax(model.predict_on_batch(normalised(images))),
        "SavedModel serve_uint8": signature("serve_uint8"),
        "SavedModel serve_bytes": lambda images: serve_bytes(_encoded(images)),
    }


_PNGS: dict[bytes, np.ndarray] = {}


def _encoded(images: np.ndarray) -> np.ndarray:
    """Returns the images as PNG files; encoded once for each batch, since a client does that elsewhere."""
    import tensorflow as tf

    key = images.tobytes()
    if key not in _PNGS:
        _PNGS[key] = np.array([tf.io.encode_png(image).numpy() for image in images], dtype=object)
    return _PNGS[key]


def measure(functions: dict[str, Callable], images: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    """Returns the seconds of each call by contender; all get the same number of calls, in turns."""
    expected = None
    for function in functions.values():  # warm up, and see that all compute the same
        for _ in range(3):
            answer = np.asarray(function(images))
        expected = answer if expected is None else expected
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    times = {name: [] for name in functions}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, function in functions.items():
            began = time.perf_counter()
            function(images)
            times[name].append(time.perf_counter() - began)
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="per batch size, all contenders together")
    flags = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        functions = contenders(flags.cells, flags.channels, flags.image_size, os.path.join(directory, "1"))
        print(f"{'':24}" + "".join(f"| batch {size:<2}  images/s    p50    p99 " for size in BATCH_SIZES))
        results = {}
        for size in BATCH_SIZES:
            images = rng.integers(0, 256, (size, flags.image_size, flags.image_size, 3), dtype=np.uint8)
            results[size] = measure(functions, images, flags.seconds)
        for name in functions:
            row = f"{name:24}"
            for size in BATCH_SIZES:
                times = results[size][name]
                p50, p99 = np.percentile(times, [50, 99]) * 1000
                row += f"|          {size / times.mean():9.0f} {p50:6.1f} {p99:6.1f} "
            print(row + "ms")


if __name__ == "__main__":
    main()
