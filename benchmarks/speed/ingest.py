"""What it takes to bring a folder of images in: images per second, and memory over time.

    python -m benchmarks.speed.ingest --images=2000 --width=256 --height=256
    python -m benchmarks.speed.ingest --images=40 --width=6000 --height=4000 --image_size=224

The images are JPEGs of parts of two photographs, enlarged and with noise; they are made once for each size. Prints
seconds, the processor's seconds (a shared machine shows in the difference), and resident memory (Linux) at quarters of
the time and at most, beyond what was resident before the first image.
"""

import argparse
import os
import tempfile
import threading
import time

import numpy as np
import psutil
from PIL import Image
from sklearn import datasets
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from components.tfds_example_gen.component import TfdsExampleGen
from components.tfds_example_gen.executor import Executor

_CLASSES = 10


def main() -> None:
    """Makes the images, brings them in and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="how many")
    parser.add_argument("--width", type=int, default=256, help="of the files, in pixels")
    parser.add_argument("--height", type=int, default=256, help="of the files, in pixels")
    parser.add_argument(
        "--image_size", type=int, default=64, help="pixels to resize to; 0 keeps the images as they are"
    )
    parser.add_argument("--store", default="resized", choices=("resized", "original"))
    parser.add_argument("--mode", default="in_memory", help="Beam's --direct_running_mode")
    parser.add_argument("--workers", type=int, default=1, help="Beam's --direct_num_workers")
    parser.add_argument("--root", default=os.path.join(tempfile.gettempdir(), "ingest"), help="folder of the images")
    args = parser.parse_args()
    folder = os.path.join(args.root, f"{args.images}x{args.width}x{args.height}")
    if not os.path.isdir(folder):
        write_photos(folder, args.images, (args.width, args.height))
    component = TfdsExampleGen(image_folder=folder, image_size=args.image_size, store=args.store)
    beam_args = [f"--direct_running_mode={args.mode}", f"--direct_num_workers={args.workers}"]
    with tempfile.TemporaryDirectory() as scratch:
        examples = standard_artifacts.Examples()
        examples.uri = os.path.join(scratch, "examples")
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=beam_args, tmp_dir=scratch, unique_id="1"
        )
        executor = Executor(context)
        process = psutil.Process()
        before, resident, ended = process.memory_info().rss, [], threading.Event()
        sampler = threading.Thread(target=lambda: _sample(process, resident, ended))
        began, worked = time.monotonic(), _processor_seconds(process)
        sampler.start()
        executor.Do({}, {"examples": [examples]}, component.exec_properties)
        seconds, worked = time.monotonic() - began, _processor_seconds(process) - worked
        ended.set()
        sampler.join()
    quarters = [resident[min(len(resident) * part // 4, len(resident) - 1)] for part in (1, 2, 3, 4)]
    print(f"{args.images} images in {seconds:.1f} s: {args.images / seconds:.1f}/s; processor {worked:.1f} s")
    shown = ", ".join(f"{(memory - before) / 2**20:.0f}" for memory in (*quarters, max(resident)))
    print(f"resident MiB more than before, at 1/4, 2/4, 3/4, 4/4 of the time, at most: {shown}")


def write_photos(folder: str, count: int, size: tuple[int, int]) -> None:
    """Writes JPEGs of a size (width, height) into as many class folders as there are classes at most."""
    random = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in datasets.load_sample_images().images]
    for number in range(count):
        photo = photos[number % len(photos)]
        left, top = (int(random.integers(0, side // 2)) for side in photo.size)
        part = photo.crop((left, top, left + photo.width // 2, top + photo.height // 2))
        pixels = np.asarray(part.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        pixels = pixels + random.integers(-8, 9, pixels.shape, np.int16)
        directory = os.path.join(folder, f"class{number % _CLASSES}")
        os.makedirs(directory, exist_ok=True)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(os.path.join(directory, f"{number:05}.jpg"), quality=90)


def _sample(process, resident, ended):
    while not ended.wait(0.05):
        resident.append(process.memory_info().rss)


def _processor_seconds(process):
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
