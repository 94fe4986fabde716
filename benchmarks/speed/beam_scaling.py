"""How ingest, validation and evaluation scale with Beam's workers: images per second with several runners.

    python -m benchmarks.speed.beam_scaling --images=cifar10_jpeg.zip
    python -m benchmarks.speed.beam_scaling --images=cifar10_jpeg.zip --runners= --flink=localhost:8099 --workers=1,2

The images are JPEGs with noise, enlarged from those of the zip file, and made once in --root. Engines must see this
folder under the same path, and have the worker pools of docs/deploy.md. The ingest resizes the images as an image
folder's ingest does, the validation decodes the results, and the evaluation classifies the images of `test`, a fifth,
with an untrained plain CNN.

Each stage first runs twice on a few images; the second of these runs is the start-up time. Images per second are those
of the images and the seconds beyond the second run. Processor seconds are those of this process and its children:
nearly all of a local runner's work, and none of an engine's.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.utils import proto_utils

from benchmarks.search_quality import images
from components import artifacts
from components.evaluator import executor as evaluator
from components.image_validator import executor as image_validator
from components.image_validator.component import ImageValidator
from components.tfds_example_gen import executor as example_gen
from components.tfds_example_gen.component import TfdsExampleGen
from models import export
from models.baselines import networks
from models.data import dataset_info
from models.data.examples import SPLITS
from models.data.image_format import ImageFormat
from models.settings import Evaluate
from pipeline import stages

_PORTABLE = (
    "--runner=PortableRunner",
    "--environment_type=EXTERNAL",
    "--environment_config=localhost:50000",
    "--environment_cache_millis=60000",
    "--requirements_file=requirements.txt",
    "--requirements_cache=skip",
)


class Measured(NamedTuple):
    """What a stage took: images, seconds and processor seconds."""

    images: int
    seconds: float
    processor: float


class Stages:
    """The stages on the images of a folder. Each method returns the number of images that it handled.

    Args:
        folder: The images.
        side: The side to which the ingest resizes them.
        beam_args: Beam options.
        scratch: A folder for the results.
    """

    def __init__(self, folder: str, side: int, beam_args: list[str], scratch: str):
        self._folder, self._side, self._beam_args, self._scratch = folder, side, beam_args, scratch
        self._examples = standard_artifacts.Examples()
        self._examples.uri = os.path.join(scratch, "examples")
        self._examples.split_names = artifact_utils.encode_split_names(list(SPLITS))

    def ingest(self) -> int:
        """Runs TfdsExampleGen."""
        component = TfdsExampleGen(image_folder=self._folder, image_size=self._side)
        example_gen.Executor(self._context()).Do({}, {"examples": [self._examples]}, component.exec_properties)
        return sum(map(sum, self._info().counts.values()))

    def validate(self) -> int:
        """Runs ImageValidator."""
        component = ImageValidator(channel.Channel(type=standard_artifacts.Examples), image_size=self._side)
        report = artifacts.ImageReport()
        report.uri = os.path.join(self._scratch, "report")
        image_validator.Executor(self._context()).Do(
            {"examples": [self._examples]}, {"image_report": [report]}, component.exec_properties
        )
        return sum(map(sum, self._info().counts.values()))

    def evaluate(self) -> int:
        """Runs the Evaluator."""
        model, evaluation = standard_artifacts.Model(), standard_artifacts.ModelEvaluation()
        blessing = standard_artifacts.ModelBlessing()
        model.uri, evaluation.uri, blessing.uri = (
            os.path.join(self._scratch, name) for name in ("model", "evaluation", "blessing")
        )
        evaluator.Executor(self._context()).Do(
            {"examples": [self._examples], "model": [model], "baseline_model": []},
            {"evaluation": [evaluation], "blessing": [blessing]},
            {
                "eval_config": proto_utils.proto_to_json(stages.evaluation(Evaluate())),
                "example_splits": '["test"]',
            },
        )
        return sum(self._info().counts["test"])

    def write_model(self) -> None:
        """Writes the model of the evaluation, after the ingest."""
        info, shape = self._info(), (self._side, self._side, 3)
        export.export_model(
            networks.plain_cnn(shape, len(info.class_names)),
            os.path.join(self._scratch, "model", "Format-Serving"),
            image_format=ImageFormat(shape),
            class_names=info.class_names,
            mean=info.normalization[3].mean,
            std=info.normalization[3].std,
        )

    def _info(self):
        return dataset_info.load(self._examples.uri)

    def _context(self):
        return base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(self._beam_args), tmp_dir=os.path.join(self._scratch, "tmp"), unique_id="1"
        )


def main() -> None:
    """Makes the images, runs the stages with each runner, and prints a table."""
    args = _arguments()
    keras.utils.set_random_seed(0)
    folders = []
    for count in (args.few, args.count):
        folder = os.path.join(args.root, f"{count}x{args.side}")
        if not os.path.isdir(folder):
            write_images(args.images, folder, count, args.side)
        folders.append(folder)
    print("| runner | workers | stage | start-up, s | images | seconds | images per second | processor seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, workers, beam_args in runners(args):
        with tempfile.TemporaryDirectory(dir=args.root) as scratch:
            few, many = (
                Stages(folder, args.image_size, beam_args, os.path.join(scratch, os.path.basename(folder)))
                for folder in folders
            )
            for stage in ("ingest", "validate", "evaluate"):
                if stage == "evaluate":
                    few.write_model()
                    many.write_model()
                measure(getattr(few, stage))
                short, long = measure(getattr(few, stage)), measure(getattr(many, stage))
                print(f"| {name} | {workers} | {stage} | {row(short, long)} |", flush=True)


def runners(args: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Yields name, number of workers and Beam options of each runner that the flags name."""
    for name in filter(None, args.runners.split(",")):
        for workers in (1,) if name == "in_memory" else args.workers:
            options = [f"--direct_running_mode={name}", f"--direct_num_workers={workers}"]
            yield name, workers, [*options, "--requirements_file=/dev/null"]
    for name, endpoint in (("Flink", args.flink), ("Spark", args.spark)):
        for workers in args.workers if endpoint else ():
            yield name, workers, [*_PORTABLE, f"--job_endpoint={endpoint}", f"--parallelism={workers}"]


def measure(stage: Callable[[], int]) -> Measured:
    """Runs a stage."""
    began, worked = time.monotonic(), sum(os.times()[:4])
    count = stage()
    return Measured(count, time.monotonic() - began, sum(os.times()[:4]) - worked)


def row(short: Measured, long: Measured) -> str:
    """Returns the figures of a row of the table, from the runs on a few and on all images."""
    more, seconds = long.images - short.images, long.seconds - short.seconds
    speed = f"{more / seconds:,.0f}" if seconds > 0 else "not measurable"
    return f"{short.seconds:.1f} | {long.images:,} | {long.seconds:.1f} | {speed} | {long.processor:.1f}"


def write_images(source: str, folder: str, count: int, side: int) -> None:
    """Writes JPEGs of `side` pixels into a folder for each class.

    Args:
        source: A folder or zip file of images, as benchmarks.search_quality.images takes it.
        folder: The folder to write. It appears when it is complete.
        count: Number of images.
        side: Their width and height.
    """
    (drawn,), class_names = images.draw(source, [count])
    random = np.random.default_rng(0)
    for name in class_names:
        os.makedirs(os.path.join(f"{folder}.unfinished", name))
    for number, (_, label, encoded) in enumerate(drawn):
        picture = Image.open(io.BytesIO(encoded)).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture, np.int16) + random.integers(-8, 9, (side, side, 3), np.int16)
        path = os.path.join(f"{folder}.unfinished", class_names[label], f"{number:05}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    os.rename(f"{folder}.unfinished", folder)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder or zip file with .../train/<class>/<image>")
    parser.add_argument("--count", type=int, default=8000, help="how many images")
    parser.add_argument("--few", type=int, default=100, help="how many images in the runs that give the start-up time")
    parser.add_argument("--side", type=int, default=256, help="width and height of the files, in pixels")
    parser.add_argument("--image_size", type=int, default=64, help="pixels to which the ingest resizes")
    parser.add_argument("--workers", default="1,2,4", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument(
        "--runners", default="in_memory,multi_threading", help="Beam's --direct_running_mode, several with commas"
    )
    parser.add_argument("--flink", default="", help="HOST:PORT of the job server of Flink")
    parser.add_argument("--spark", default="", help="HOST:PORT of the job server of Spark")
    parser.add_argument("--root", default=os.path.join(tempfile.gettempdir(), "beam_scaling"), help="working folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
