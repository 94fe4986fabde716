"""What decodes at ingest decodes everywhere: a zoo of files through the real ingest, input pipeline and SavedModel."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from tfx.types import artifact_utils

from models import export
from models.data import dataset, dataset_info, image_file
from models.data.image_format import ImageFormat, colour
from models.settings import Data
from tests.support import image_fixtures, tf_serving_double, zoo

SIDE = 16
WHITE = (255, 255, 255)


def by_pillow(encoded, background):
    """Returns the picture as Pillow reads it, laid over the background."""
    image = Image.open(io.BytesIO(encoded))
    is_bmp = image.format == "BMP"
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return np.repeat(((np.asarray(image).astype(int) + 128) // 257)[..., None], 3, -1)
    if not image.has_transparency_data or (is_bmp and image.mode != "RGBA"):
        return np.asarray(image.convert("RGB")).astype(int)
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    front, alpha = pixels[..., :3], pixels[..., 3:]
    return (front * alpha + np.array(background) * (255 - alpha) + 127) // 255


# Pillow keeps the high byte of 16 bits where there are colours or alpha, takes another way from CMYK to colours, does
# not scale the transparent value of fewer than 8 bits, and refuses a broken comment.
TOLERANCE = {"png-colours-16": 1, "png-grey-alpha-16": 2, "png-alpha-16": 2, "jpeg-cmyk": 2, "jpeg-ycck": 2}
OTHERWISE_IN_PILLOW = {
    "png-grey-1-hole",
    "png-grey-2-hole",
    "png-grey-4-hole",
    "png-grey-16-hole",
    "png-text-broken-crc",
}


def test_a_file_is_read_as_pillow_reads_it_or_refused_with_a_reason():
    # One test for all: after each new seed TensorFlow prepares functions anew, which takes longer than to call them.
    wrong = {name: found for name, (file, reason) in zoo.zoo().items() if (found := what_is_wrong(name, file, reason))}
    assert not wrong


def what_is_wrong(name, encoded, reason):
    """Returns how a file is read otherwise than it should be, or empty."""
    for background in (WHITE, (9, 99, 199)):
        try:
            header, read = image_file.read(encoded, background)
        except image_file.UnreadableImage as error:
            return str(error) if str(error) != reason else ""
        if reason:
            return "is read"
        if header != image_file.inspect(encoded) or read.shape != (header.height, header.width, 3):
            return f"another header, {header}"
        if header.channels == 1 and background == WHITE and (read != read[..., :1]).any():
            return "grey became coloured"
        if name not in OTHERWISE_IN_PILLOW:
            difference = np.abs(read - by_pillow(encoded, background)).max()
            if difference > TOLERANCE.get(name, 0):
                return f"differs by {difference} from Pillow"
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of all animals, under names that say nothing of their kind."""
    root = tmp_path_factory.mktemp("zoo")
    for number, (name, (encoded, _)) in enumerate(zoo.zoo(large=True).items()):
        directory = root / ("cat", "dog")[number % 2]
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.jpg").write_bytes(encoded)
    return root


def strings(items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


@pytest.mark.parametrize(
    ("channels", "resize", "store", "background"),
    [
        (3, "crop", "resized", "white"),
        (1, "pad", "resized", "#0a64c8"),
        (3, "squash", "original", "white"),
    ],
)
def test_ingest_training_and_serving_see_the_same_pixels(folder, tmp_path, channels, resize, store, background):
    form = {"image_size": SIDE, "channels": channels, "resize": resize, "background": background}
    examples = image_fixtures.run_example_gen(
        tmp_path, image_folder=str(folder), max_corrupt_share=0.9, store=store, **form
    )
    refused = dict(dataset_info.load(examples.uri).undecodable)
    patterns = [
        os.path.join(artifact_utils.get_split_uri([examples], split), "*") for split in ("train", "val", "test")
    ]
    data = dataset.load_examples(patterns, Data(**form, cache_mb=100))
    trained = dict(zip(map(bytes.decode, data.ids), data.images, strict=True))

    expected = {}
    for name, (_, reason) in zoo.zoo().items():
        (path,) = folder.glob(f"*/{name}.jpg")
        expected[str(path.relative_to(folder))] = reason
    assert {image_id: reason for image_id, reason in expected.items() if reason} == refused
    ids = sorted(os.path.relpath(path, folder) for path in folder.glob("*/*"))
    assert set(trained) == set(ids) - set(refused)

    # The model's answer is its pixels, so that equal answers are equal pixels.
    shape = (SIDE, SIDE, channels)
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten()])
    export.export_model(
        model,
        str(tmp_path / "model" / "1"),
        image_format=ImageFormat(shape, resize, colour(background)),
        class_names=[str(number) for number in range(np.prod(shape))],
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    servable = tf_serving_double.Servable(str(tmp_path / "model" / "1"))
    seen = np.stack([trained.get(image_id, np.zeros(shape, np.uint8)) for image_id in ids])
    answers = servable.predict("serve_uint8", {"images": seen})["probabilities"]
    files = strings([(folder / image_id).read_bytes() for image_id in ids])
    outputs = servable.predict("serve_bytes", {"image_bytes": files})
    good = np.array([image_id in trained for image_id in ids])
    assert [bool(error) for error in outputs["errors"]] == (~good).tolist()
    np.testing.assert_array_equal(outputs["probabilities"][good], answers[good])
    records = [record for pattern in patterns for record in raw_records(pattern)]
    by_id = {record_id(record): record for record in records}
    stored = servable.predict("serve_examples", {"examples": strings([by_id[i] for i in ids if i in trained])})
    np.testing.assert_array_equal(stored["probabilities"], answers[good])


def raw_records(pattern):
    files = sorted(tf.io.gfile.glob(pattern))
    return list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())


def record_id(record):
    return tf.train.Example.FromString(record).features.feature["id"].bytes_list.value[0].decode()
