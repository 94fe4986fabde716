"""Scikit-learn's handwritten digits as a TFDS data set: 1,797 grey images of 8x8 pixels. Nothing is downloaded."""

import numpy as np
import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """The test part of UCI's "Optical recognition of handwritten digits", which scikit-learn ships.

    Every fifth image is a test image. The images are sorted by writer, so both splits contain images of all writers.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The images of sklearn.datasets.load_digits; every fifth is for testing."}

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        from sklearn import datasets  # not needed to read a prepared data set

        digits = datasets.load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]  # scikit-learn's values are 0 to 16
        examples = [
            (number, {"image": image, "label": int(label)})
            for number, (image, label) in enumerate(zip(images, digits.target, strict=True))
        ]
        return {
            "train": iter([example for example in examples if example[0] % 5]),
            "test": iter(examples[::5]),
        }

    def _generate_examples(self):
        """Does nothing: `_split_generators` returns the splits as iterators."""
