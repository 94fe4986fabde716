"""Exports a trained classifier as a SavedModel for TF Serving, the Evaluator and BulkInferrer.

Preprocessing is inside the model, so that a client sends pictures and gets names. The signatures:

| signature | input | shape and dtype |
|---|---|---|
| `serving_default` | `images` | (batch, height, width, channels), float32, values 0 to 255 |
| `serve_uint8` | `images` | the same as uint8: a quarter of the bytes on the wire |
| `serve_bytes` | `image_bytes` | (batch,) strings: PNG, JPEG, BMP or GIF files of any size, grey or coloured |
| `serve_examples` | `examples` | (batch,) serialized tf.Examples, the image file as feature `image` |

All of them answer `class_ids` (batch, k) int64 and `class_names` (batch, k) string, best first,
`top_k_probabilities` (batch, k) float32, and `probabilities` (batch, classes) float32.

Files are brought to the network's form by the decoder of the training (models/data/preprocessing.py), as
IMAGE_FORMAT (models/runtime/artifact_files.py) says: shape, resize, background. An empty batch gets an empty answer.

A file that cannot be decoded does not disturb the others of its batch: `serve_bytes` has one more
output, `errors` (batch,) string, empty where all is well. Where it is not, the row's class ids are
-1, its names empty and its probabilities 0. `serve_examples` raises InvalidArgumentError instead:
it reads what the pipeline itself wrote, and an evaluation must not count a broken file as a wrong
answer.
"""

import dataclasses
import os
import tempfile
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from models.data import preprocessing
from models.data.image_format import ImageFormat
from models.runtime import artifact_files

DECODE_ERROR = "not an image that can be decoded (PNG, JPEG, BMP or GIF)"


def export_model(
    model: keras.Model,
    export_dir: str,
    *,
    image_format: ImageFormat,
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    top_k: int = 5,
) -> None:
    """Writes `model` to `export_dir` as a SavedModel with the signatures named above.

    Three more files are written (models/runtime/artifact_files.py): CLASS_NAMES, one a line; WARMUP_REQUESTS,
    one per signature, which TF Serving replays before it calls the model ready; and IMAGE_FORMAT, the form that images
    are brought to.

    Args:
        model: A built classifier; takes normalised float32 images (batch, height, width, channels) and returns
            logits (batch, classes).
        export_dir: The directory to write; any path that tf.io.gfile takes.
        image_format: The form of the images that the model was trained on.
        class_names: The classes' names in the order of the logits.
        mean: The mean of each channel in the training images, on the scale 0 to 1.
        std: The standard deviation of each channel, on the same scale.
        top_k: How many classes the best-first outputs hold; all of them where there are fewer.

    Raises:
        ValueError: The names, the shape or the normalisation do not fit each other or the model.
    """
    image_shape = image_format.image_shape
    class_names = [str(name) for name in class_names]
    _check(image_shape, class_names, mean, std, top_k)

    probabilities = _probabilities(model, image_shape, len(class_names))

    with tempfile.TemporaryDirectory() as scratch:
        names_file = os.path.join(scratch, os.path.basename(artifact_files.CLASS_NAMES.name))
        with open(names_file, "w", encoding="utf-8") as stream:
            stream.write("".join(f"{name}\n" for name in class_names))
        # The names in the answers are read from the asset: there is no second copy to disagree.
        names = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                names_file,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="",
        )
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.track(names)
        top_k = min(top_k, len(class_names))
        signatures = _signatures(probabilities, names, image_format, mean, std, top_k)
        for name, (function, spec) in signatures.items():
            archive.add_endpoint(name, function, input_signature=[spec])
        archive.write_out(export_dir, verbose=False)
    _write_extra(export_dir, image_format)


def _check(image_shape, class_names, mean, std, top_k):
    if len(image_shape) != 3 or min(image_shape) < 1 or image_shape[2] not in (1, 3):
        raise ValueError(f"image_shape is (height, width, channels) with 1 or 3 channels, not {image_shape}.")
    if len(mean) != image_shape[2] or len(std) != image_shape[2]:
        raise ValueError(
            f"mean and std need one number for each of {image_shape[2]} channels; "
            f"found mean={list(mean)}, std={list(std)}."
        )
    unfit = [name for name in class_names if not name or "\n" in name or "\r" in name]
    if unfit or len(set(class_names)) != len(class_names):
        raise ValueError(
            f"class_names must be distinct, non-empty and without line breaks; found {unfit or 'duplicates'}."
        )
    if top_k < 1:
        raise ValueError(f"top_k must be 1 or more, not {top_k}.")


def _probabilities(model, image_shape, classes):
    """Returns the model's class probabilities as a function of normalised images.

    It is traced once, and every signature calls it: four copies of a deep network would make the
    SavedModel, and the time to load it, four times as big.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, *image_shape), tf.float32)], autograph=False)
    def probabilities(images):
        count = tf.shape(images)[0]
        # Some kernels fail on an empty batch, so it gets an image. A condition would be in the way of the converters.
        some = tf.pad(images, [[0, tf.maximum(1 - count, 0)], [0, 0], [0, 0], [0, 0]])
        # Half-precision networks return half-precision logits.
        return tf.nn.softmax(tf.cast(model(some, training=False), tf.float32))[:count]

    outputs = probabilities.get_concrete_function().structured_outputs.shape[-1]
    if outputs != classes:
        raise ValueError(f"The model has {outputs} outputs, but there are {classes} class_names.")
    return probabilities


def _signatures(probabilities, names, image_format, mean, std, top_k):
    """Returns the signatures' functions and input specs by name."""

    def answer(images):
        scores = probabilities(preprocessing.normalise(images, mean, std))
        best = tf.math.top_k(scores, k=top_k)
        ids = tf.cast(best.indices, tf.int64)
        return {
            "class_ids": ids,
            "class_names": names.lookup(ids),
            "top_k_probabilities": best.values,
            "probabilities": scores,
        }

    def serve_bytes(image_bytes):
        images, valid = _decode_each(image_bytes, image_format)
        answers = answer(images)
        blank = {"class_ids": tf.constant(-1, tf.int64), "class_names": tf.constant("")}
        for name, value in answers.items():
            answers[name] = tf.where(valid[:, None], value, blank.get(name, tf.constant(0.0)))
        answers["errors"] = tf.where(valid, "", DECODE_ERROR)
        return answers

    def serve_examples(examples):
        features = tf.io.parse_example(examples, {"image": tf.io.FixedLenFeature((), tf.string)})
        images = preprocessing.decode_images(features["image"], image_format)
        return answer(images)

    image_shape = image_format.image_shape
    return {
        "serving_default": (answer, tf.TensorSpec((None, *image_shape), tf.float32, "images")),
        "serve_uint8": (answer, tf.TensorSpec((None, *image_shape), tf.uint8, "images")),
        "serve_bytes": (serve_bytes, tf.TensorSpec((None,), tf.string, "image_bytes")),
        "serve_examples": (serve_examples, tf.TensorSpec((None,), tf.string, "examples")),
    }


def _decode_each(encoded, image_format):
    """Decodes each file on its own.

    Args:
        encoded: (batch,) strings.
        image_format: The form to decode to.

    Returns:
        The uint8 images (batch, height, width, channels), zeros where a file is broken, and the bools (batch,)
        that say which are not. A graph cannot catch the error of an operation; a tf.data pipeline
        can leave out the elements that fail, and it decodes in parallel.
    """
    image_shape = image_format.image_shape
    count = tf.shape(encoded, out_type=tf.int64)[0]
    decoded = (
        tf.data.Dataset.from_tensor_slices(encoded)
        .enumerate()
        .map(
            lambda index, item: (index, preprocessing.decode_image(item, image_format)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .ignore_errors()
    )
    # The one element of the batch is missing where every file is broken, or none was sent: so one
    # more image goes in, past the end of the batch, and is cut off again.
    sentinel = tf.data.Dataset.from_tensors((count, tf.zeros(image_shape, tf.uint8)))
    indices, images = decoded.concatenate(sentinel).batch(count + 1).get_single_element()
    shape = tf.concat([[count + 1], tf.constant(image_shape, tf.int64)], axis=0)
    images = tf.scatter_nd(indices[:, None], images, shape)[:-1]
    valid = tf.scatter_nd(indices[:, None], tf.ones_like(indices), [count + 1])[:-1] > 0
    return tf.ensure_shape(images, (None, *image_shape)), valid


def _write_extra(export_dir, image_format):
    """Writes the images' form, and one request for each signature to where TF Serving looks for them."""
    image = np.full((1, *image_format.image_shape), 127, np.uint8)
    encoded = tf.io.encode_png(image[0]).numpy()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    example = tf.train.Example(features=tf.train.Features(feature={"image": feature}))
    requests = {
        "serving_default": ("images", image.astype(np.float32)),
        "serve_uint8": ("images", image),
        "serve_bytes": ("image_bytes", np.array([encoded], object)),
        "serve_examples": ("examples", np.array([example.SerializeToString()], object)),
    }
    artifact_files.IMAGE_FORMAT.save(export_dir, dataclasses.asdict(image_format))
    with tf.io.TFRecordWriter(artifact_files.WARMUP_REQUESTS.path(export_dir)) as writer:
        for signature, (name, value) in requests.items():
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(signature_name=signature),
                inputs={name: tf.make_tensor_proto(value)},
            )
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
