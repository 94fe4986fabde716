"""Converts an exported SavedModel (models/export.py) to other formats, and runs the converted files.

The SavedModel contains all that is needed, so the code of the network is not. A converted model takes the pixels of
images that already have the size of the training, float32 (batch, height, width, channels) from 0 to 255, and returns
float32 probabilities (batch, classes). Decoding and resizing of image files stay outside, because phones and other
runtimes have their own functions for that. A LiteRT model takes one image at a time.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.runtime.quiet import quiet

SAVED_MODEL = "saved_model"
LITERT, LITERT_INT8, ONNX = "litert", "litert_int8", "onnx"

Predict = Callable[[np.ndarray], np.ndarray]
"""Pixels, float32 (batch, height, width, channels) from 0 to 255 -> probabilities, float32 (batch, classes)."""

_OPSET = 17  # of ONNX; ONNX Runtime 1.12 and newer know it
_LOW = -1e30  # of a lower number the padding of a max pool consists, and no value of a network
_SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of converted models.

    Attributes:
        convert: Takes the folder of a SavedModel and pixels for the calibration, uint8 (images, height, width,
            channels); returns the content of the file.
        load: Takes the content of the file and a number of threads; returns a function that classifies images.
        calibrated: Whether the conversion uses the pixels.
        exact: Whether the probabilities must be those of the SavedModel.
    """

    convert: Callable[[str, np.ndarray], bytes]
    load: Callable[[bytes, int], Predict]
    calibrated: bool = False
    exact: bool = True


def saved_model(model_dir: str) -> Predict:
    """Returns a function that classifies images with the SavedModel itself."""
    model: Any = tf.saved_model.load(model_dir)
    answer = model.signatures[_SIGNATURE]

    def predict(pixels: np.ndarray) -> np.ndarray:
        assert model is not None  # keeps the variables alive; the signature does not
        return answer(images=tf.constant(pixels, tf.float32))["probabilities"].numpy()

    return predict


def _graph(model_dir: str, batch: int | None) -> tuple[Any, str]:
    """Returns a graph that computes probabilities from pixels, and the name of its output; its input is `images:0`.

    The graph has constants instead of variables. It has no control inputs: they lead to the table of the class names,
    which a converted model does not need.

    Args:
        model_dir: The folder of the SavedModel.
        batch: The number of images of a batch; None: any number.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model: Any = tf.saved_model.load(model_dir)
    answer = model.signatures[_SIGNATURE]
    ((_, spec),) = answer.structured_input_signature[1].items()

    @tf.function(input_signature=[tf.TensorSpec((batch, *spec.shape[1:]), tf.float32, "images")], autograph=False)
    def probabilities(images):
        return answer(images=images)["probabilities"]

    frozen = convert_variables_to_constants_v2(probabilities.get_concrete_function())
    (output,) = frozen.outputs
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        node.input[:] = [name for name in node.input if not name.startswith("^")]
    return tf.compat.v1.graph_util.extract_sub_graph(graph, [output.op.name]), output.name


def _litert_converter(model_dir: str, quantized: bool = False) -> tf.lite.TFLiteConverter:
    graph, output = _graph(model_dir, 1)
    if quantized:
        _mirror_lowest_numbers(graph)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    tensors = (wrapped.graph.get_tensor_by_name(name) for name in ("images:0", output))
    return tf.lite.TFLiteConverter.from_concrete_functions([wrapped.prune(*tensors)], tf.Module())


def _mirror_lowest_numbers(graph: Any) -> None:
    """Replaces the padding of max pools with the lowest float number by mirrored images, in place.

    8-bit integers that reach to the lowest float number cannot tell other numbers apart. A mirrored pixel next to the
    edge equals the pixel at the edge, which is in the same window, so the maximum of the window is the same.
    """
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op != "PadV2":
            continue
        filler = nodes[node.input[2].partition(":")[0]]
        if filler.op == "Const" and tf.make_ndarray(filler.attr["value"].tensor) < _LOW:
            node.op = "MirrorPad"
            del node.input[2]
            node.attr["mode"].s = b"SYMMETRIC"


def _to_litert(model_dir: str, _: np.ndarray) -> bytes:
    with quiet():
        return _litert_converter(model_dir).convert()


def _to_litert_int8(model_dir: str, pixels: np.ndarray) -> bytes:
    converter = _litert_converter(model_dir, quantized=True)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None].astype(np.float32)] for image in pixels)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with quiet():
        return converter.convert()


def _load_litert(content: bytes, threads: int) -> Predict:
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def one(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    return lambda pixels: np.concatenate([one(image) for image in pixels.astype(np.float32)])


def _to_onnx(model_dir: str, _: np.ndarray) -> bytes:
    from tf2onnx import convert

    graph, output = _graph(model_dir, None)
    model = convert.from_graph_def(
        graph,
        input_names=["images:0"],
        output_names=[output],
        opset=_OPSET,
        tensors_to_rename={"images:0": "images", output: "probabilities"},
    )[0]
    return model.SerializeToString()


def _load_onnx(content: bytes, threads: int) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["probabilities"], {"images": pixels.astype(np.float32)})[0]


FORMATS: Mapping[str, Format] = {
    LITERT: Format(_to_litert, _load_litert),
    LITERT_INT8: Format(_to_litert_int8, _load_litert, calibrated=True, exact=False),
    ONNX: Format(_to_onnx, _load_onnx),
}
