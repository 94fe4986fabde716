import numpy as np
import pytest

from benchmarks.speed import serving


def test_all_contenders_compute_the_same_and_are_timed(tmp_path):
    functions = serving.contenders(cells=3, channels=4, image_size=8, directory=str(tmp_path / "1"))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    times = serving.measure(functions, images, seconds=0.1)
    assert set(times) == {
        "keras predict",
        "keras predict_on_batch",
        "SavedModel serve_uint8",
        "SavedModel serve_bytes",
    }
    assert all(len(values) >= 1 and (values > 0).all() for values in times.values())


def test_contenders_that_compute_something_else_are_not_timed():
    with pytest.raises(AssertionError):
        serving.measure({"one": lambda images: [0.0], "other": lambda images: [0.1]}, np.zeros(1), seconds=0.1)
