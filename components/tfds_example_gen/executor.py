"""The TfdsExampleGen component: its Beam executor."""

import dataclasses
import hashlib
import io
import json
import tempfile
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image, UnidentifiedImageError
from tfx import types
from tfx.components.example_gen import base_example_gen_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.tfds_example_gen import source
from models.dataset_info import DataError, DatasetInfo, Normalization, load

SPLITS = ("train", "val", "test")
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")  # Pillow's names for images without colour
_REC_601 = np.array([0.299, 0.587, 0.114])  # what a decoder weighs colours with to make grey of them
_FIXED_POINT = 2.0**32


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Writes the images of a source as tf.Examples into the splits train, val and test.

    A tf.Example has the features `image` (the encoded bytes, as they are in the source), `label` (int64) and `id`
    (bytes). Images that cannot be decoded are left out, if they are no more than the share allowed. Beside the splits,
    `dataset_info.json` says what models/dataset_info.py lists.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component.

        Args:
            input_dict: Empty.
            output_dict: `examples`.
            exec_properties: As the component's specification says.

        Raises:
            DataError: The source cannot be used, too many images cannot be decoded, or a class has no image in one of
                the splits.
        """
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        splits = example_gen_pb2.Input(splits=[example_gen_pb2.Input.Split(name=name, pattern=name) for name in SPLITS])
        super().Do(
            input_dict,
            output_dict,
            {
                **exec_properties,
                standard_component_specs.INPUT_CONFIG_KEY: proto_utils.proto_to_json(splits),
                standard_component_specs.OUTPUT_CONFIG_KEY: proto_utils.proto_to_json(example_gen_pb2.Output()),
                standard_component_specs.OUTPUT_DATA_FORMAT_KEY: example_gen_pb2.FORMAT_TF_EXAMPLE,
                standard_component_specs.OUTPUT_FILE_FORMAT_KEY: example_gen_pb2.FORMAT_TFRECORDS_GZIP,
                "info_dir": examples.uri,
            },
        )
        info = load(examples.uri)
        _refuse_undecodable(info, exec_properties["max_corrupt_share"])
        _refuse_missing_classes(info)
        for name in ("class_names", "counts", "height", "width", "channels"):
            examples.set_string_custom_property(name, json.dumps(getattr(info, name)))

    def GetInputSourceToExamplePTransform(self):
        """Returns what reads a split of a builder and looks at each of its images."""
        return _ReadImages

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.pvalue.PCollection]:
        """Returns the tf.Examples of each split; writes `dataset_info.json` on the way."""
        read = self.GetInputSourceToExamplePTransform()
        fields = [field.name for field in dataclasses.fields(source.Source)]
        scratch_dir = self._get_tmp_dir() if self._context else tempfile.mkdtemp()
        images = source.Source(**{name: exec_properties[name] for name in fields})
        builder = images.prepare(scratch_dir)
        fraction, seed = exec_properties["val_fraction"], exec_properties["seed"]
        bound = val_bound(source.split_ids(builder, "train"), fraction, seed)

        found = pipeline | "ReadTrain" >> read(builder, "train")
        train, val = found | "CutVal" >> beam.Partition(lambda image, _: int(order_key(image.id, seed) < bound), 2)
        test = pipeline | "ReadTest" >> read(builder, source.test_split(builder))
        splits = dict(zip(SPLITS, (train, val, test), strict=True))

        info_dir = exec_properties["info_dir"]
        about = {
            "name": images.image_folder or images.name,
            "version": "" if images.image_folder else str(builder.version),
            "class_names": source.class_names(builder),
            "seed": seed,
            "val_fraction": fraction,
        }
        summaries = [
            part
            | f"Label[{name}]" >> beam.Map(_summary, name)
            | f"Summarise[{name}]" >> beam.CombineGlobally(_Summarise()).without_defaults()
            for name, part in splits.items()
        ]
        _ = (
            summaries
            | beam.Flatten()
            | "Summarise" >> beam.CombineGlobally(_Summarise())
            | "WriteInfo" >> beam.Map(lambda totals: _info(totals, about).save(info_dir))
        )
        return {
            name: part
            | f"Decodable[{name}]" >> beam.Filter(lambda image: not image.reason)
            | f"ToExample[{name}]" >> beam.Map(_example)
            for name, part in splits.items()
        }


def order_key(image_id: str, seed: int) -> int:
    """Returns the number that decides whether an image is in val: a hash of id and seed, so always the same."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{image_id}".encode()).digest()[:8], "big")


def val_bound(ids: list[str], fraction: float, seed: int) -> int:
    """Returns the number below which the order keys of exactly round(fraction * count) of the ids lie."""
    keys = sorted(order_key(image_id, seed) for image_id in ids)
    return [*keys, 2**64][round(fraction * len(keys))]


def channels_of(image: Image.Image) -> int:
    """Returns 1 for a grey image and 3 for a coloured one; transparency is not counted."""
    return 1 if image.mode in _GREY_MODES else 3


@dataclasses.dataclass
class _Image:
    """An image of the source and what was seen when it was decoded."""

    id: str
    label: int
    encoded: bytes
    reason: str = ""  # why it cannot be decoded; then the rest is empty
    shape: tuple[int, int, int] = (0, 0, 0)
    moments: tuple[int, ...] = ()  # mean and mean square of red, green, blue and grey, in fixed point


@beam.ptransform_fn
def _ReadImages(pipeline, builder, split):
    return pipeline | source.read(builder, split) | "Look" >> beam.MapTuple(_look)


def _look(image_id, label, encoded):
    try:
        with Image.open(io.BytesIO(encoded)) as header:
            channels = channels_of(header)
        # With the decoder that training will use: what passes here passes there.
        pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    except UnidentifiedImageError:
        return _Image(image_id, label, encoded, "not a PNG or JPEG file" if encoded else "the file is empty")
    except (tf.errors.InvalidArgumentError, OSError, Image.DecompressionBombError) as error:
        reason = str(getattr(error, "message", error)).splitlines()[0]
        return _Image(image_id, label, encoded, reason)
    shape = (*pixels.shape[:2], channels)
    return _Image(image_id, label, encoded, "", shape, _moments(pixels))


def _moments(pixels):
    values = pixels.reshape(-1, 3).astype(np.int64)
    mean = values.sum(axis=0) / len(values) / 255
    products = values.T @ values / len(values) / 255**2
    square = np.diagonal(products)
    moments = [*mean, _REC_601 @ mean, *square, _REC_601 @ products @ _REC_601]
    # Sums of integers do not depend on the order in which Beam adds them up.
    return tuple(round(moment * _FIXED_POINT) for moment in moments)


def _example(image):
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.encoded])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[image.label])),
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.id.encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def _summary(image, split):
    """Returns the summary of one image; `_add` makes one of two."""
    if image.reason:
        return {"undecodable": [(image.id, image.reason)]}
    return {
        "counts": {(split, image.label): 1},
        "shape": [(size, size) for size in image.shape],
        "moments": (1, *image.moments) if split != "test" else None,
    }


def _add(one, other):
    merged = {**one, **other}
    for name, add in _ADD.items():
        if one.get(name) and other.get(name):
            merged[name] = add(one[name], other[name])
        else:
            merged[name] = one.get(name) or other.get(name)
    return merged


_ADD = {
    "undecodable": lambda a, b: a + b,
    "counts": lambda a, b: {key: a.get(key, 0) + b.get(key, 0) for key in a.keys() | b.keys()},
    "shape": lambda a, b: [(min(x[0], y[0]), max(x[1], y[1])) for x, y in zip(a, b, strict=True)],
    "moments": lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)),
}


class _Summarise(beam.CombineFn):
    """Adds summaries up."""

    def create_accumulator(self):
        return {}

    def add_input(self, accumulator, summary):
        return _add(accumulator, summary)

    def merge_accumulators(self, accumulators):
        merged = {}
        for accumulator in accumulators:
            merged = _add(merged, accumulator)
        return merged

    def extract_output(self, accumulator):
        return accumulator


def _info(totals, about):
    """Returns the facts that the sum of all images' summaries tells."""
    counts, classes = totals.get("counts") or {}, len(about["class_names"])
    height, width, channels = totals.get("shape") or [(0, 0)] * 3
    normalization = {}
    if totals.get("moments"):
        count, *moments = totals["moments"]
        mean, square = np.array(moments).reshape(2, 4) / _FIXED_POINT / count
        std = np.sqrt(np.maximum(square - np.square(mean), 0))
        std[std < 1e-6] = 1.0  # all pixels are alike
        for channels_to, part in ((1, slice(3, 4)), (3, slice(0, 3))):
            normalization[channels_to] = Normalization(tuple(mean[part].tolist()), tuple(std[part].tolist()))
    return DatasetInfo(
        **about,
        counts={split: tuple(counts.get((split, label), 0) for label in range(classes)) for split in SPLITS},
        height=height,
        width=width,
        channels=channels,
        normalization=normalization,
        undecodable=tuple(sorted(totals.get("undecodable") or ())),
    )


def _refuse_undecodable(info, allowed_share):
    count = len(info.undecodable)
    if not count:
        return
    total = count + sum(sum(counts) for counts in info.counts.values())
    listed = "\n".join(f"  {image_id}: {reason}" for image_id, reason in info.undecodable[:20])
    found = f"{count} of {total} images cannot be decoded, a share of {count / total:.3g}"
    more = f"\n  and {count - 20} more" if count > 20 else ""
    if count > allowed_share * total:
        raise DataError(
            f"{found}; config.data.max_corrupt_share allows {allowed_share:g}. Repair or remove them, or raise the "
            f"share to leave them out:\n{listed}{more}"
        )
    logging.warning("%s, and were left out:\n%s%s", found, listed, more)


def _refuse_missing_classes(info):
    for split in SPLITS:
        missing = [name for name, count in zip(info.class_names, info.counts[split], strict=True) if not count]
        if missing and split != "test":
            raise DataError(
                f"The split {split} has no image of {len(missing)} of {len(info.class_names)} classes "
                f"({', '.join(missing[:10])}). The training images are cut in two by config.data.val_fraction="
                f"{info.val_fraction:g}; every class must be in both parts: add images, or bring it nearer to 0.5."
            )
        if missing:
            logging.warning("No image of %s to test on.", ", ".join(missing))
