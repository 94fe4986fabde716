"""Tiny images for tests: folders of them, and examples artifacts."""

import io
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from components.tfds_example_gen.component import TfdsExampleGen
from components.tfds_example_gen.executor import Executor
from models.data.dataset_info import DatasetInfo, Normalization
from models.data.examples import serialize_example
from pipeline import command_line

BEAM_ARGS = command_line.BEAM_PIPELINE_ARGS.default


def encode(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB", file_format: str = "PNG") -> bytes:
    """Returns a random image's file; width and height in `size`, Pillow's name of the pixel format in `mode`."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode).save(file, file_format)
    return file.getvalue()


def write_folder(root, train: int = 6, test: int = 2, classes: Iterable[str] = ("cat", "dog"), **image) -> str:
    """Writes `root/train/<class>/N.png` and `root/test/<class>/N.png`, so many a class; returns `root`."""
    seed = 0
    for split, count in (("train", train), ("test", test)):
        for name in classes:
            directory = pathlib.Path(root, split, name)
            directory.mkdir(parents=True)
            for number in range(count):
                seed += 1
                (directory / f"{number}.png").write_bytes(encode(seed, **image))
    return str(root)


def run_example_gen(directory, *, beam_args: Iterable[str] = BEAM_ARGS, **arguments) -> standard_artifacts.Examples:
    """Runs TfdsExampleGen, built with the arguments; its examples lie in `directory/examples`."""
    component = TfdsExampleGen(**arguments)
    examples = standard_artifacts.Examples()
    examples.uri = os.path.join(directory, "examples")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=os.path.join(directory, "tmp"), unique_id="1"
    )
    Executor(context).Do({}, {"examples": [examples]}, component.exec_properties)
    return examples


def write_examples(
    uri,
    splits: Mapping[str, Sequence[tuple[str, int, bytes]]],
    class_names: tuple[str, ...] = ("cat", "dog"),
    per_file: int = 1000,
) -> standard_artifacts.Examples:
    """Writes an examples artifact of (id, label, file) by hand, right or wrong; so many images to a file."""
    examples = standard_artifacts.Examples()
    examples.uri = str(uri)
    examples.split_names = artifact_utils.encode_split_names(list(splits))
    for split, images in splits.items():
        directory = artifact_utils.get_split_uri([examples], split)
        os.makedirs(directory)
        for start in range(0, len(images), per_file):
            with tf.io.TFRecordWriter(os.path.join(directory, f"data-{start:05}.gz"), "GZIP") as writer:
                for image in images[start : start + per_file]:
                    writer.write(serialize_example(*image))
    info = DatasetInfo(
        name="by hand",
        version="",
        class_names=class_names,
        counts={split: (0,) * len(class_names) for split in splits},
        height=(8, 8),
        width=(8, 8),
        channels=(3, 3),
        normalization={channels: Normalization((0.5,) * channels, (0.25,) * channels) for channels in (1, 3)},
        seed=0,
        val_fraction=0.5,
    )
    info.save(uri)
    return examples
