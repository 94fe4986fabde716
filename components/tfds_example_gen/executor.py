"""The Beam executor of the TfdsExampleGen component."""

import functools
import json
import os
import time
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs

from components.tfds_example_gen import cut, plan, shards, source
from models.data.dataset_info import DataError, DatasetInfo, load
from models.data.examples import SPLITS
from models.runtime import progress
from models.runtime.messages import some
from models.settings import Data


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the images of a source as tf.Examples into the splits train, val and test.

    A tf.Example has the features `image` (an encoded image), `label` (int64) and `id` (bytes). Images that cannot be
    decoded are left out, if their share is not above the allowed share. A file with the facts about the data set
    (models/data/dataset_info.py) is beside the splits.
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
            exec_properties: The parameters in the specification of the component.

        Raises:
            DataError: The source cannot be used, too many images cannot be decoded, or a class has no image in one of
                the splits.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        began = time.monotonic()
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")

        data = Data.from_json(
            exec_properties["data"],
            data_dir=exec_properties["data_dir"],
            version=exec_properties["data_version"],
            image_folder=exec_properties["image_folder"],
            seed=exec_properties["data_seed"],
        )
        images = source.Source(data).prepare(self._get_tmp_dir())
        settings = {
            "seed": data.seed,
            "test_fraction": data.test_fraction,
            "val_fraction": data.val_fraction,
        }
        items = {split: images.items(split) for split in images.splits}
        parts, origins = _cut(images, items, **settings)
        _say_split(parts, origins)
        about = {
            "name": data.image_folder or data.name,
            "version": images.version,
            "class_names": images.class_names,
            "origins": origins,
            "stored": data.store if data.image_size else "original",
            **settings,
        }
        self._write(images.reader, items, parts, data, examples, about)
        info = load(examples.uri)
        _refuse_undecodable(info, data.max_corrupt_share)
        examples.set_float_custom_property("seconds", time.monotonic() - began)
        _refuse_missing_classes(info)
        for name in ("class_names", "counts", "height", "width", "channels"):
            examples.set_string_custom_property(name, json.dumps(getattr(info, name)))

    def _write(self, reader, items, parts, data, examples, about):
        """Writes the examples of each split, and the facts about the data set."""
        directories = {split: artifact_utils.get_split_uri([examples], split) for split in SPLITS}
        unfinished = os.path.join(examples.uri, "unfinished")
        for directory in (*directories.values(), unfinished):
            tf.io.gfile.makedirs(directory)
        path, info_dir = os.path.join(self._get_tmp_dir(), "shards"), examples.uri
        planned = plan.write(items, parts, path)
        write = shards.WriteShard(reader, data, path, directories, unfinished)
        written = functools.partial(plan.written, planned, directories)
        with (
            progress.watching("images", sum(map(len, parts.values())), written),
            self._make_beam_pipeline() as pipeline,
        ):
            _ = (
                pipeline
                | "Shards" >> beam.Create([shard.place for shard in planned])
                | "ShareOut" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(write)
                | "AddUp" >> beam.CombineGlobally(shards.Totals.sum)
                | "WriteInfo" >> beam.Map(lambda totals: _info(totals, about).save(info_dir))
            )
        tf.io.gfile.rmtree(unfinished)


def _cut(images, items, seed, test_fraction, val_fraction):
    """Returns two mappings.

    The first one: split of the source -> the part of each of its images, as a place in SPLITS. The second one: part ->
    a text that says where its images come from.
    """
    origins = dict(images.origins)
    ids, labels = items["train"]
    if "val" not in items:
        counts = np.bincount(labels, minlength=len(images.class_names)).tolist()
        cut.refuse_small_classes(dict(zip(images.class_names, counts, strict=True)))
        origins["val"] = f"{val_fraction:.0%} of each class, config.data.val_fraction"
    if "test" not in items:
        origins["test"] = f"{test_fraction:.0%} of each class, config.data.test_fraction"
    shares = {
        "test_fraction": 0 if "test" in items else test_fraction,
        "val_fraction": 0 if "val" in items else val_fraction,
    }
    parts = {
        split: np.full(len(found), SPLITS.index(split), np.int8)
        for split, (found, _) in items.items()
        if split != "train"
    }
    return {"train": cut.cut(ids, labels, seed=seed, **shares), **parts}, origins


def _say_split(parts, origins):
    counts = sum(np.bincount(found, minlength=len(SPLITS)) for found in parts.values())
    told = (f"{count:,} {split} ({origins[split]})" for split, count in zip(SPLITS, counts, strict=True))
    progress.say(f"images: {', '.join(told)}")


def _info(totals, about):
    """Returns the facts about the data set, from the totals over all images."""
    labels = range(len(about["class_names"]))
    return DatasetInfo(
        **about,
        counts={split: tuple(totals.counts[split, label] for label in labels) for split in SPLITS},
        height=totals.height or (0, 0),
        width=totals.width or (0, 0),
        channels=totals.channels or (0, 0),
        normalization=totals.normalization(),
        brightest=totals.brightest,
        undecodable=tuple(sorted(totals.undecodable)),
    )


def _refuse_undecodable(info, allowed_share):
    count = len(info.undecodable)
    if not count:
        return
    total = count + sum(sum(counts) for counts in info.counts.values())
    listed = "\n".join(f"  {image_id}: {reason}" for image_id, reason in info.undecodable[:20])
    found = f"{count} of {total} images cannot be decoded (a share of {count / total:.3g})"
    more = f"\n  and {count - 20} more" if count > 20 else ""
    if count > allowed_share * total:
        raise DataError(
            f"{found}; config.data.max_corrupt_share allows {allowed_share:g}. Repair or remove them, or raise the "
            f"share to leave them out:\n{listed}{more}"
        )
    logging.warning("%s. They were left out:\n%s%s", found, listed, more)


def _refuse_missing_classes(info):
    for split in SPLITS:
        missing = [name for name, count in zip(info.class_names, info.counts[split], strict=True) if not count]
        if missing and (split != "test" or len(missing) == len(info.class_names)):
            raise DataError(
                f"In {split} ({info.origins[split]}), {len(missing)} of {len(info.class_names)} classes have no image "
                f"that can be decoded: {some(missing, 10)}. Add images, or remove the classes."
            )
        if missing:
            logging.warning("test has no image of %s.", ", ".join(missing))
