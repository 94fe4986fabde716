"""A pretrained network as an extractor of features: a .keras file, a SavedModel, or a network of keras.applications.

The network gets float pixels of 0 to 255, like the networks of keras.applications. If a network needs another scale, it
must contain a layer that rescales the pixels. Images are resized to the input size of the network. If the network takes
any size, sides of less than 96 pixels are enlarged to 96. If the last layer of a Keras model is dense, this layer is a
classifier of other classes, so its input is taken as the features. Maps of features are averaged over their pixels.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.data import dataset, preprocessing
from models.networks import profiling
from models.runtime import checkpoint, progress
from models.settings import ConfigError

_SIDE = 96  # smallest side of the images in pixels, for a network that takes any size
_BATCH = 64
SPLITS = ("train", "val", "test")
_KEY = "config.baselines.pretrained"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A pretrained network.

    Attributes:
        call: Float pixels, 0 to 255 -> features, float (batch, features) or (batch, height, width, features).
        size: Height and width of the input in pixels; None: any.
        channels: The channels of the input, 1 or 3.
        params: The number of parameters.
        macs: The multiply-adds for one image; None if they are not known.
    """

    call: Callable[[tf.Tensor], tf.Tensor]
    size: tuple[int, int] | None
    channels: int
    params: int
    macs: int | None


def load(name: str, weights: str, side: int) -> Pretrained:
    """Loads a pretrained network.

    Args:
        name: `config.baselines.pretrained`.
        weights: `config.baselines.weights`.
        side: The larger side of the images of this run in pixels.

    Raises:
        ConfigError: The network cannot be used; the message names the setting.
    """
    try:
        if _is_application(name):
            return _application(name, weights, max(side, _SIDE))
        if weights:
            raise ConfigError(
                f"config.baselines.weights: found {weights!r}; expected '', the default: {name!r} is a file with its "
                "weights. Only networks of keras.applications need this setting."
            )
        if name.endswith(".keras") and tf.io.gfile.exists(name):
            return _keras_model(keras.saving.load_model(name, compile=False), max(side, _SIDE))
        if tf.io.gfile.exists(os.path.join(name, "saved_model.pb")):
            return _saved_model(name)
    except ConfigError:
        raise
    except Exception as error:  # Keras and TensorFlow raise many different classes
        told = " ".join(str(error).split())[:300]
        raise ConfigError(f"{_KEY}: {name!r} cannot be loaded: {told}") from error
    raise ConfigError(
        f"{_KEY}: found {name!r}; expected a .keras file that exists, the folder of a SavedModel, or the name of a "
        "network in keras.applications such as 'EfficientNetB0'."
    )


def fingerprint(name: str, weights: str) -> str:
    """Returns a fingerprint of a pretrained network's files: of their paths, sizes and times of change.

    Args:
        name, weights: As for `load`. Files that this machine cannot see are left out.
    """
    paths = [path for path in (name, weights) if path and tf.io.gfile.exists(path)]
    for path in list(paths):
        if tf.io.gfile.isdir(path):
            paths += [os.path.join(folder, file) for folder, _, files in tf.io.gfile.walk(path) for file in files]
    found = ((path, tf.io.gfile.stat(path)) for path in sorted(paths) if not tf.io.gfile.isdir(path))
    return checkpoint.fingerprint([(path, stat.length, stat.mtime_nsec) for path, stat in found])


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of all images, and their cost.

    Attributes:
        arrays: For each split, such as `train`: its features `train`, float32 (images, features), its labels
            `train_labels`, int32 (images,), and its ids `train_ids`, bytes (images,).
        params: The number of the network's parameters.
        macs: The network's multiply-adds for one image; None if they are not known.
        seconds: The seconds in which the features were computed.
    """

    arrays: dict[str, np.ndarray]
    params: int
    macs: int | None
    seconds: float

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns features and labels of a split."""
        return self.arrays[name], self.arrays[f"{name}_labels"]

    def cost(self) -> dict[str, Any]:
        """Returns everything but the arrays, as JSON values."""
        return {"params": self.params, "macs": self.macs, "seconds": self.seconds}


def extract(name: str, weights: str, load_split: Callable[[str], dataset.ImageDataset], directory: str) -> Features:
    """Returns the features of `train`, `val` and `test`.

    A split that an interrupted run has saved is read; the others are computed and saved.

    Args:
        name, weights: As for `load`.
        load_split: Returns the images of the split of this name.
        directory: The folder of the checkpoints.

    Raises:
        ConfigError: The network cannot be used; the message names the setting.
    """
    found = checkpoint.latest(directory) or checkpoint.Checkpoint(0, {}, {"seconds": 0.0})
    network = None
    for done, split in enumerate(SPLITS[found.step :], found.step + 1):
        began = time.monotonic()
        images = load_split(split)
        network = network or load(name, weights, max(images.image_shape[:2]))
        computed = features(network, images, f"pretrained: images of {split}")
        arrays = {
            **found.arrays,
            split: computed,
            f"{split}_labels": images.labels,
            f"{split}_ids": np.asarray(images.ids, np.bytes_),
        }
        seconds = found.state["seconds"] + time.monotonic() - began
        found = checkpoint.Checkpoint(
            done, arrays, {"params": network.params, "macs": network.macs, "seconds": seconds}
        )
        checkpoint.save(directory, done, arrays, found.state)
    return Features(found.arrays, **found.state)


def features(network: Pretrained, images: dataset.ImageDataset, what: str) -> np.ndarray:
    """Returns the features of all images, float32 (images, features), in their order.

    Args:
        network: The network.
        images: The images.
        what: The name of the images in the terminal, in the plural.
    """
    compute = _extractor(network, images.image_shape)
    parts: list[np.ndarray] = []
    with progress.watching(what, len(images), lambda: sum(map(len, parts))):
        for start in range(0, len(images), _BATCH):
            parts.append(compute(images.pixels(start, min(start + _BATCH, len(images)))).numpy())
    return np.concatenate(parts)


def measure(name: str, weights: str, images: dataset.ImageDataset) -> tuple[float, float, int]:
    """Returns how long features take: the seconds before the first batch, the seconds of an image, and the features.

    Args:
        name, weights: As for `load`.
        images: Images, of which one batch is used.

    Raises:
        ConfigError: The network cannot be used; the message names the setting.
    """
    began = time.monotonic()
    compute = _extractor(load(name, weights, max(images.image_shape[:2])), images.image_shape)
    batch = images.pixels(0, min(_BATCH, len(images)))
    compute(batch)
    start = time.monotonic()
    found = compute(batch).numpy()
    return start - began, (time.monotonic() - start) / len(found), found.shape[1]


def _extractor(network: Pretrained, image_shape: tuple[int, int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function: pixels, uint8 (batch, *image_shape) -> features, float32 (batch, features)."""
    size = network.size or tuple(max(side, _SIDE) for side in image_shape[:2])

    @tf.function(input_signature=[tf.TensorSpec((None, *image_shape), tf.uint8)], autograph=False)
    def compute(pixels):
        pixels = _with_channels(pixels, network.channels)
        made = network.call(tf.image.resize(tf.cast(pixels, tf.float32), size, antialias=True))
        return tf.cast(_pooled(made), tf.float32)

    return compute


def _with_channels(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    if pixels.shape[-1] == channels:
        return pixels
    return tf.image.grayscale_to_rgb(pixels) if channels == 3 else preprocessing.grey(pixels)


def _pooled(made: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(made, axis=(1, 2)) if made.shape.rank == 4 else made


def _is_application(name: str) -> bool:
    return name[:1].isupper() and callable(getattr(keras.applications, name, None))


def _application(name: str, weights: str, side: int) -> Pretrained:
    if not weights or not tf.io.gfile.exists(weights):
        raise ConfigError(
            f"config.baselines.weights: found {weights!r}; expected the file with the weights of {name} without its "
            "classifier (include_top=False)."
        )
    make = getattr(keras.applications, name)
    prepare = sys.modules[make.__module__].preprocess_input
    model = make(include_top=False, weights=weights, input_shape=(side, side, 3), pooling="avg")
    known = _described(model, (side, side), 3, side)
    return dataclasses.replace(known, call=lambda images: model(prepare(images), training=False))


def _keras_model(model: keras.Model, side: int) -> Pretrained:
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ConfigError(
            f"{_KEY}: found a model with inputs of shape {shape}; expected one input (batch, height, width, channels) "
            "with 1 or 3 channels."
        )
    last = model.layers[-1]
    if isinstance(last, keras.layers.Dense):
        model = keras.Model(model.inputs, last.input)
    size = None if None in shape[1:3] else shape[1:3]
    return _described(model, size, shape[3], side)


def _described(model: Any, size: tuple[int, int] | None, channels: int, side: int) -> Pretrained:
    made = model.compute_output_spec(keras.KerasTensor((None, *(size or (side, side)), channels)))
    _require_features(made.shape)
    # The sizes of a network that takes any size are known only when it is called.
    macs = profiling.multiply_adds(model) if size else None
    return Pretrained(lambda images: model(images, training=False), size, channels, model.count_params(), macs)


def _require_features(shape: Any) -> None:
    if len(shape) not in (2, 4) or shape[-1] is None:
        raise ConfigError(
            f"{_KEY}: found a network whose output has the shape {tuple(shape)}; expected (batch, features) or (batch, "
            "height, width, features)."
        )


def _saved_model(path: str) -> Pretrained:
    model: Any = tf.saved_model.load(path)
    found = model.signatures.get("serving_default")
    if found is None:
        raise ConfigError(f"{_KEY}: {path!r} has no signature 'serving_default'; export it with one.")
    _, inputs = found.structured_input_signature
    specs = list(inputs.items())
    if len(specs) != 1 or specs[0][1].dtype != tf.float32 or len(specs[0][1].shape) != 4:
        raise ConfigError(
            f"{_KEY}: the signature 'serving_default' of {path!r} takes {inputs}; expected one input, float32 (batch, "
            "height, width, channels)."
        )
    key, spec = specs[0]
    outputs = {name: output.shape for name, output in found.structured_outputs.items() if output.dtype.is_floating}
    if len(outputs) != 1:
        raise ConfigError(
            f"{_KEY}: the signature 'serving_default' of {path!r} has {len(outputs)} float outputs; expected one, the "
            "features."
        )
    ((output, shape),) = outputs.items()
    _require_features(shape)
    size = None if None in spec.shape[1:3] else tuple(spec.shape[1:3])
    params = sum(int(np.prod(variable.shape)) for variable in found.variables)

    def call(images):  # uses `model`, because it keeps the variables alive; the signature does not
        return model.signatures["serving_default"](**{key: images})[output]

    return Pretrained(call, size, spec.shape[3], params, None)
