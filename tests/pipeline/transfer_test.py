"""The recipes for ImageNet on small folders of photos: a cell that was found on other images, and a search."""

import json
import os

import numpy as np
import pytest
from ml_metadata import MetadataStore
from PIL import Image
from tfx.orchestration import metadata

from tests.support import pipeline_runs

CLASSES = ("blue", "green", "red")
TINY = ("--config.train.epochs=1", "--config.train.batch_size=16", "--config.evaluate.accuracy_threshold=0.01")
# The recipe's backbone has millions of parameters.
SMALL_BACKBONE = """
from pipeline.configs import digits_mobile, imagenet_mobile


def get_config():
    config = imagenet_mobile.get_config()
    with config.ignore_type():
        config.space.backbone = digits_mobile.get_config().space.backbone.to_dict()
    return config
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """JPEGs of different sizes, sorted by class; the rare class has a third of the images of the others."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 30), ("val", 6)):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for number in range(count // 3 if name == "green" else count):
                height, width = random.integers(40, 90, 2)
                pixels = random.integers(0, 120, (height, width, 3), np.uint8)
                pixels[..., 2 - label] += 120
                Image.fromarray(pixels).save(folder / split / name / f"{number}.jpg")
    return str(folder)


def run(root, photos, config, *flags):
    folder = ("--config.data.name=''", f"--config.data.image_folder={photos}", "--config.data.val_fraction=0.3")
    return pipeline_runs.run(root, *TINY, *folder, *flags, config=config, small=())


def test_a_cell_of_other_images_is_trained_on_photos_and_keeps_its_lineage(digits_run, photos, tmp_path):
    found = digits_run.summary["lineage"]["genotype"]
    genotype = os.path.join(found[0], "genotype.json")
    sizes = ("--config.data.image_size=40", "--config.train.cells=3", "--config.train.channels=4")
    sizes += ("--config.train.auxiliary_weight=0.0",)  # its head needs photos of 193 pixels
    done = run(tmp_path, photos, "pipeline/configs/imagenet_transfer.py", f"--config.architecture={genotype}", *sizes)
    assert done.returncode == 0, done.stderr
    assert done.summary["genotype"] == digits_run.summary["genotype"]
    assert done.summary["genotype_origin"] == f"file {genotype} (search, best)"
    assert found[0] in done.summary["lineage"]["genotype"] and len(done.summary["lineage"]["genotype"]) == 2
    store = MetadataStore(metadata.sqlite_metadata_connection_config(os.path.join(tmp_path, "metadata.sqlite")))
    (importing,) = (e for e in store.get_executions() if "architecture_importer" in store_type(store, e).lower())
    inputs = [event.artifact_id for event in store.get_events_by_execution_ids([importing.id]) if event.type == 3]
    assert found[0] in [artifact.uri for artifact in store.get_artifacts_by_id(inputs)]


def store_type(store, execution):
    return store.get_execution_types_by_id([execution.type_id])[0].name


def test_the_mobile_space_is_searched_and_trained_on_photos(photos, tmp_path):
    config = tmp_path / "small.py"
    config.write_text(SMALL_BACKBONE)
    sizes = ("--config.data.image_size=32", "--config.search.epochs=21")
    done = run(tmp_path, photos, config, *sizes)
    assert done.returncode == 0, done.stderr
    assert done.summary["search_epochs"] == 21 and done.summary["genotype"]["space"] == "mobile"
    assert json.dumps(sorted(done.summary["class_accuracy"])) == json.dumps(list(CLASSES))
    assert os.path.isdir(done.summary["trained_model"])
