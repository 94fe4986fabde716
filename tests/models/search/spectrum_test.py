"""models/search/spectrum.py: entropies that can be known beforehand, and what a score depends on."""

import dataclasses
import io
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from models.data import dataset
from models.data.image_format import ImageFormat
from models.search import spectrum, spectrum_tuner
from models.settings import Search, Train
from tests.support.spaces import make_space
from tests.support.two_choices import TwoChoices

SEARCH = Search(objective="spectrum", score_images=6)
TRAIN = Train(channels=4, cells=1)
TINY, NASBENCH = (make_space({"name": name}) for name in ("tests.support.tiny_space", "nasbench201"))
PATH = {"block_0": "conv_3x3", "block_1": "skip", "block_2": "conv_1x1"}
ONE_EDGE = {choice.name: "none" for choice in NASBENCH.choices} | {"edge_3_0": "nor_conv_3x3"}


def images(count=20, shape=(4, 4, 3), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
    ids = np.array([b"%03d" % number for number in range(count)])
    labels = np.arange(count, dtype=np.int32) % 2
    return dataset.ImageDataset(pixels, labels, ids, ("a", "b"), (0.5,) * shape[2], (0.25,) * shape[2])


def score(data, space=TINY, search=SEARCH, seed=0):
    """What scores paths, of a supernet whose weights are always the same at first."""
    keras.utils.set_random_seed(0)
    return spectrum_tuner.spectral_score(space, search, TRAIN, data, seed)


@pytest.fixture(autouse=True)
def _small_reference(monkeypatch):
    monkeypatch.setattr(spectrum, "REFERENCE", 4)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.eye(7), math.log(7)),
        (1e-3 * np.eye(7), math.log(7)),
        (np.outer([1.0, 2.0, -3.0], [1.0, 2.0, -3.0]), 0.0),
        (np.diag([3.0, 1.0, 0.0]), math.log(4) - 0.75 * math.log(3)),
        (np.zeros((3, 3)), 0.0),
        (np.array([[0.0]]), 0.0),
        (np.full((3, 3), np.nan), 0.0),
        (np.diag([1.0, np.inf]), 0.0),
    ],
)
def test_the_entropy_is_that_of_the_eigenvalues_shares(matrix, expected):
    assert spectrum.entropy(matrix) == pytest.approx(expected, abs=1e-9)


def test_the_entropy_does_not_depend_on_the_directions():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    values = np.array([5.0, 3.0, 1.0, 1.0, 0.0])
    shares = values[:4] / 10
    expected = -(shares * np.log(shares)).sum()
    assert spectrum.entropy(rotation @ np.diag(values) @ rotation.T) == pytest.approx(expected)


def test_the_number_decides_the_entropies_bit_for_bit_and_labels_play_no_role():
    data = images()
    first, again = score(data), score(dataclasses.replace(data, labels=1 - data.labels))
    found = first.entropies(PATH, 7)
    assert found.shape == (1 + 2,)  # one stage, the pooled features, the gradients
    first.entropies({**PATH, "block_0": "conv_1x1"}, 8)  # what was scored before leaves no trace
    np.testing.assert_array_equal(first.entropies(PATH, 7), found)
    np.testing.assert_array_equal(again.entropies(PATH, 7), found)
    assert again.score(PATH, 0) == first.score(PATH, 0)
    assert not np.isclose(first.entropies(PATH, 8), found).any()
    assert not np.isclose(score(data, seed=1).entropies(PATH, 7), found).any()


def test_entropies_are_within_what_channels_and_images_allow():
    scored = score(images())
    for number in range(5):
        *features, gradients = scored.entropies(PATH, number)
        assert all(0 < entropy <= math.log(TRAIN.channels) for entropy in features)
        assert 0 < gradients <= math.log(SEARCH.score_images)
        assert 0 < scored.score(PATH, number) <= 1


def test_the_score_is_the_geometric_mean_of_the_shares_of_the_reference(monkeypatch):
    scored = score(images())
    scored._reference = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    numbers = []
    monkeypatch.setattr(scored, "entropies", lambda path, number: numbers.append(number) or np.array([2.5, 4.0]))
    # Equal is not smaller.
    assert scored.score(PATH, 3) == pytest.approx(math.sqrt(2.5 / 4.5 * 3.5 / 4.5))
    assert numbers == [spectrum.REFERENCE + 3]  # the reference had the numbers before
    for entropies, expected in (([9.0, 9.0], 1.0), ([0.0, 0.0], 0.5 / 4.5)):
        monkeypatch.setattr(scored, "entropies", lambda path, number, found=entropies: np.array(found))
        assert scored.score(PATH, 0) == pytest.approx(expected)


def test_every_evaluation_draws_other_images_and_gives_the_first_weights_another_order_and_other_signs(monkeypatch):
    data = images()
    scored = score(data)
    supernet, seen = scored._supernet, []
    stages = supernet.stages
    monkeypatch.setattr(supernet, "stages", lambda batch, path: seen.append(np.array(batch)) or stages(batch, path))
    kernels = []
    for number in range(3):
        scored.entropies(PATH, number)
        kernels.append(supernet.stem.kernel.numpy())
    normal = (data.images / 255 - 0.5) / 0.25
    drawn = []
    for batch in seen:
        assert batch.shape == (SEARCH.score_images, 4, 4, 3)
        distances = np.abs(batch[:, np.newaxis] - normal[np.newaxis]).max(axis=(2, 3, 4))
        assert (distances.min(axis=1) < 1e-5).all()
        drawn.append(frozenset(distances.argmin(axis=1)))
        assert len(drawn[-1]) == SEARCH.score_images  # each image once
    assert len(set(drawn)) == 3
    assert not np.array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(*(np.sort(np.abs(kernel), axis=None) for kernel in kernels[:2]))
    assert kernels[0].sum() != pytest.approx(kernels[1].sum())  # or all evaluations would err alike


def test_a_path_that_is_cut_off_from_the_images_scores_lowest():
    scored = score(images(), NASBENCH)
    none = {choice.name: "none" for choice in NASBENCH.choices}
    found = scored.entropies(none, 0)
    np.testing.assert_array_equal(found, np.zeros(3 + 2))
    least = 0.5 / (spectrum.REFERENCE + 0.5)
    assert scored.score(none, 0) == pytest.approx(least)
    assert scored.score(ONE_EDGE, 0) > 1.5 * least


def test_features_that_overflow_tell_nothing_apart():
    scored = score(images())
    for variable in scored._supernet.path_variables(PATH):
        first = np.full(math.prod(variable.shape), np.inf, np.float32)
        first[::2] = -np.inf
        scored._initial[id(variable)] = first
    np.testing.assert_array_equal(scored.entropies(PATH, 0), np.zeros(3))
    assert scored.score(PATH, 0) == pytest.approx(0.5 / 4.5)


def test_of_equal_images_only_the_gradients_are_alike():
    data = images()
    equal = dataclasses.replace(data, images=np.repeat(data.images[:1], len(data), axis=0))
    *features, gradients = score(equal).entropies(PATH, 0)
    assert gradients == pytest.approx(0, abs=1e-4)
    assert features[0] > 0.1
    assert 0 < score(equal).score(PATH, 0) <= 1
    blank = dataclasses.replace(data, images=np.full_like(data.images, 7))
    assert np.isfinite(score(blank).entropies(PATH, 0)).all()


def test_images_that_are_not_decoded_give_the_same_entropies():
    data = images()
    files = []
    for pixels in data.images:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    encoded = dataclasses.replace(data, images=dataset.EncodedImages(files, ImageFormat((4, 4, 3))))
    np.testing.assert_array_equal(score(encoded).entropies(PATH, 2), score(data).entropies(PATH, 2))


def test_fewer_images_than_asked_for_are_all_taken():
    few = score(images(3), search=SEARCH.model_copy(update={"score_images": 100}))
    assert 0 < few.entropies(PATH, 0)[-1] <= math.log(3)


def test_grey_images_are_scored():
    grey = score(images(shape=(4, 6, 1)))
    assert (grey.entropies(PATH, 0) > 0).all()
    assert 0 < grey.score(PATH, 0) <= 1


def test_the_scored_network_has_the_final_networks_size():
    scored = score(images(), NASBENCH)
    assert scored._supernet.width == 4 * TRAIN.channels
    assert len(scored._supernet.skeleton) == 1 + 3 * TRAIN.cells + 2 + 1


def test_a_supernet_without_stages_is_refused_before_anything_is_computed(monkeypatch):
    class Space:
        name = "own"
        choices = ()

        def supernet(self, input_shape, classes):
            return TwoChoices()

    def computed(*_):
        raise AssertionError

    monkeypatch.setattr(spectrum.SpectralScore, "entropies", computed)
    message = r"config\.search\.objective: found 'spectrum'; expected 'val_accuracy' with the own space: .*`stages`"
    with pytest.raises(ValueError, match=message):
        score(images(), Space())


def test_gradients_are_those_of_the_pooled_features_energy():
    """Of a linear network they can be written down: one direction an image, centred and of length 1."""
    generator = np.random.default_rng(0)
    data = images(5)
    weights = tf.constant(generator.normal(size=(3, 2)), tf.float32)

    class Linear:
        def stages(self, batch, path):
            return [batch @ weights]

        def path_variables(self, path):
            return []

    scored = spectrum.SpectralScore(Linear(), data, 5, 0, lambda generator: {})
    normal = (data.images / 255 - 0.5) / 0.25
    features = (normal @ weights.numpy()).reshape(-1, 2)
    pooled = normal.mean(axis=(1, 2)) @ weights.numpy()
    rows = np.tile(pooled @ weights.numpy().T, 16)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = [
        spectrum.entropy(np.cov(features.T)),
        spectrum.entropy(np.cov(pooled.T)),
        spectrum.entropy(rows @ rows.T),
    ]
    np.testing.assert_allclose(scored.entropies({}, 0), expected, atol=1e-4)


COMPLETED = {"status": "COMPLETED"}


@pytest.mark.parametrize(
    ("scores", "warned"),
    [((0.5, 0.5, 0.5), True), ((0.5, 0.5 + 1e-9), True), ((0.5, 0.6), False), ((0.5,), False), ((), False)],
)
def test_scores_that_are_all_equal_are_warned_of(scores, warned):
    epochs = [{"status": "FAILED"}, *({**COMPLETED, "spectrum": score} for score in scores)]
    found = spectrum.warnings(epochs)
    assert len(found) == warned
    if warned:
        assert f"all {len(scores)} scores are 0.500" in found[0] and "config.search.score_images" in found[0]
