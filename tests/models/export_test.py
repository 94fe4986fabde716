import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from models.architectures import presets
from models.data import preprocessing
from models.data.image_format import ImageFormat
from models.export import DECODE_ERROR, export_model
from models.networks.cell_network import cifar_network
from tests.support import tf_serving_double

SHAPE, MEAN, STD = (12, 8, 3), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
NAMES = ("cat", "dog", "Äpfel mit Birnen", "ship")
SIGNATURES = ["serve_bytes", "serve_examples", "serve_uint8", "serving_default"]


def png(image):
    return tf.io.encode_png(image).numpy()


def example(encoded, label=0):
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def strings(*items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


def export(model, directory, **changes):
    options = {"image_format": ImageFormat(SHAPE), "class_names": NAMES, "mean": MEAN, "std": STD, "top_k": 3} | changes
    export_model(model, str(directory), **options)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(images):
    keras.utils.set_random_seed(0)
    genotype, _ = presets.resolve_architecture("mdenas_cifar10")
    model = cifar_network(genotype, SHAPE, len(NAMES), channels=4, cells=3)
    for _ in range(3):  # moving statistics that are not the initial ones
        model(preprocessing.normalise(images, MEAN, STD), training=True)
    return model


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "1"
    export(model, directory)
    return directory


@pytest.fixture(scope="module")
def servable(directory):
    return tf_serving_double.Servable(str(directory))


@pytest.fixture(scope="module")
def expected(model, images):
    logits = model(preprocessing.normalise(images, MEAN, STD), training=False)
    return tf.nn.softmax(logits).numpy()


def test_every_signature_answers_what_keras_computes(servable, images, expected):
    encoded = [png(image) for image in images]
    requests = {
        "serving_default": {"images": images.astype(np.float32)},
        "serve_uint8": {"images": images},
        "serve_bytes": {"image_bytes": strings(*encoded)},
        "serve_examples": {"examples": strings(*map(example, encoded))},
    }
    assert expected.max() < 0.999  # saturated probabilities would hide differences
    for signature, inputs in requests.items():
        outputs = servable.predict(signature, inputs)
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5, err_msg=signature)
        ids = np.argsort(-expected, axis=1)[:, :3]
        np.testing.assert_array_equal(outputs["class_ids"], ids)
        assert outputs["class_ids"].dtype == np.int64
        best = np.take_along_axis(expected, ids, axis=1)
        np.testing.assert_allclose(outputs["top_k_probabilities"], best, atol=1e-5)
        names = [[NAMES[i].encode() for i in row] for row in ids]
        assert outputs["class_names"].tolist() == names


def test_signatures_have_exactly_the_documented_inputs_and_outputs(servable):
    answers = {"class_ids", "class_names", "probabilities", "top_k_probabilities"}
    found = {
        name: (list(signature.inputs), set(signature.outputs))
        for name, signature in servable.signatures.items()
        if not name.startswith("__")
    }
    assert found == {
        "serving_default": (["images"], answers),
        "serve_uint8": (["images"], answers),
        "serve_bytes": (["image_bytes"], answers | {"errors"}),
        "serve_examples": (["examples"], answers),
    }
    for name, (_, outputs) in found.items():
        for output in outputs:
            shape = servable.signatures[name].outputs[output].tensor_shape
            assert shape.dim[0].size == -1, "TF Serving can only batch along an open first dimension"


def test_images_of_other_sizes_and_formats_are_prepared_as_in_training(servable, model):
    rng = np.random.default_rng(1)
    colour, grey = rng.integers(0, 256, (50, 20, 3), np.uint8), rng.integers(0, 256, (7, 9, 1), np.uint8)
    files = [png(colour), tf.io.encode_jpeg(colour).numpy(), png(grey)]
    prepared = tf.stack([preprocessing.decode_image(file, ImageFormat(SHAPE)) for file in files])
    expected = tf.nn.softmax(model(preprocessing.normalise(prepared, MEAN, STD), training=False))
    outputs = servable.predict("serve_bytes", {"image_bytes": strings(*files)})
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_a_broken_image_is_named_and_disturbs_no_other(servable, images, expected):
    jpeg = tf.io.encode_jpeg(images[0]).numpy()
    good = [png(images[1]), png(images[4])]
    broken = [b"", b"not an image", jpeg[: len(jpeg) // 2], good[0][:-30]]
    files = strings(broken[0], good[0], *broken[1:], good[1])
    outputs = servable.predict("serve_bytes", {"image_bytes": files})
    np.testing.assert_allclose(outputs["probabilities"][[1, 5]], expected[[1, 4]], atol=1e-5)
    assert outputs["errors"][[1, 5]].tolist() == [b"", b""]
    assert set(outputs["errors"][[0, 2, 3, 4]]) == {DECODE_ERROR.encode()}
    assert (outputs["class_ids"][[0, 2, 3, 4]] == -1).all()
    assert (outputs["class_names"][[0, 2, 3, 4]] == b"").all()
    assert (outputs["probabilities"][[0, 2, 3, 4]] == 0).all()


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("serving_default", {"images": np.zeros((0, *SHAPE), np.float32)}),
        ("serve_uint8", {"images": np.zeros((0, *SHAPE), np.uint8)}),
        ("serve_bytes", {"image_bytes": strings()}),
        ("serve_examples", {"examples": strings()}),
    ],
)
def test_an_empty_batch_gets_an_empty_answer(servable, signature, inputs):
    shapes = {name: output.shape for name, output in servable.predict(signature, inputs).items()}
    expected = {"class_ids": (0, 3), "class_names": (0, 3), "top_k_probabilities": (0, 3), "probabilities": (0, 4)}
    assert shapes == expected | ({"errors": (0,)} if signature == "serve_bytes" else {})


def test_the_form_that_images_are_brought_to_is_told(directory):
    told = json.loads((directory / "assets.extra" / "preprocessing.json").read_text())
    assert told == {"image_shape": list(SHAPE), "resize": "crop", "background": [255, 255, 255]}


def test_a_batch_of_broken_images_only_is_answered(servable):
    outputs = servable.predict("serve_bytes", {"image_bytes": strings(b"x", b"y")})
    assert outputs["errors"].tolist() == [DECODE_ERROR.encode()] * 2


def test_the_pipelines_own_examples_must_be_sound(servable, images):
    examples = strings(example(png(images[0])), example(b"broken"))
    with pytest.raises(tf_serving_double.Refusal, match="not a PNG, JPEG, BMP or GIF file"):
        servable.predict("serve_examples", {"examples": examples})


def test_warmup_requests_of_every_signature_replay(servable):
    assert sorted(servable.warmed_up) == SIGNATURES


def test_warmup_requests_are_read_from_where_tf_serving_looks(directory):
    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    assert sorted(log.predict_log.request.model_spec.signature_name for log in logs) == SIGNATURES


def test_class_names_are_an_asset(directory):
    assert (directory / "assets" / "class_names.txt").read_text("utf-8").splitlines() == list(NAMES)


def test_four_signatures_share_one_copy_of_the_network(directory):
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    holders = [f for f in graph.library.function if any(node.op == "Conv2D" for node in f.node_def)]
    assert len(holders) == 1


def test_a_fresh_process_with_nothing_but_tensorflow_serves_it_from_another_place(
    directory, images, expected, tmp_path
):
    # Neither the project's code nor the paths of the export are there where TF Serving runs.
    moved = tmp_path / "moved"
    subprocess.run(["cp", "-r", directory, moved], check=True)
    np.save(tmp_path / "images.npy", images)
    code = """if True:
        import numpy as np, tensorflow as tf
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            meta = tf.compat.v1.saved_model.load(session, ["serve"], "moved")
            signature = meta.signature_def["serve_uint8"]
            outputs = {name: signature.outputs[name].name for name in ("probabilities", "class_names")}
            found = session.run(outputs, {signature.inputs["images"].name: np.load("images.npy")})
        np.save("found.npy", found["probabilities"])
        print(found["class_names"][0, 0].decode())
        """
    environment = {"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-5)
    assert done.stdout.decode().strip() == NAMES[int(expected[0].argmax())]


def test_half_precision_networks_answer_in_float32_and_few_classes_fewer_than_top_k(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(dtype="bfloat16"), keras.layers.Dense(2, dtype="bfloat16")]
    export(keras.Sequential([keras.Input(SHAPE), *layers]), tmp_path / "1", class_names=["a", "b"], top_k=5)
    outputs = tf_serving_double.Servable(str(tmp_path / "1")).predict(
        "serve_uint8", {"images": np.zeros((1, *SHAPE), np.uint8)}
    )
    assert outputs["probabilities"].dtype == np.float32
    assert abs(outputs["probabilities"].sum() - 1) < 1e-6  # bfloat16 itself is not that exact
    assert outputs["class_ids"].shape == (1, 2)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"class_names": NAMES[:3]}, "4 outputs, but there are 3 class_names"),
        ({"class_names": ["a", "b", "b", "c"]}, "distinct"),
        ({"class_names": ["a", "b", "c", "d\ne"]}, "line breaks"),
        ({"class_names": ["a", "b", "c", ""]}, "non-empty"),
        ({"mean": (0.5,)}, "each of 3 channels"),
        ({"image_format": ImageFormat((12, 8))}, "height, width, channels"),
        ({"image_format": ImageFormat((12, 8, 4))}, "1 or 3 channels"),
        ({"top_k": 0}, "top_k"),
    ],
)
def test_export_refuses_what_does_not_fit(model, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "1", **changes)
    assert not (tmp_path / "1").exists()
