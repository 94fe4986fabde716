"""The form in which networks get images: what is declared of it once, for ingest, training, evaluation and serving.

Knows nothing of TensorFlow; models/data/preprocessing.py brings an image file to this form.
"""

import dataclasses

from PIL import ImageColor

from models.settings import Data


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """Form of the images that a network gets.

    Attributes:
        image_shape: Height and width in pixels, and channels, 1 or 3.
        resize: What becomes of an image of another aspect ratio: "crop" cuts its edges off evenly, "pad" puts bars of
            the background around it, "squash" distorts it.
        background: Red, green and blue, 0 to 255 each, behind transparent pixels and in the bars of "pad".
    """

    image_shape: tuple[int, int, int]
    resize: str = "crop"
    background: tuple[int, int, int] = (255, 255, 255)

    @classmethod
    def from_settings(cls, image_shape: tuple[int, int, int], data: Data) -> "ImageFormat":
        """Returns the form that `config.data` asks for.

        Args:
            image_shape: As above; `DatasetInfo.image_shape` knows it.
            data: `config.data`.
        """
        return cls(tuple(image_shape), data.resize, colour(data.background))


def colour(name: str) -> tuple[int, int, int]:
    """Returns red, green and blue, 0 to 255 each, of a colour's name or of #rrggbb.

    Raises:
        ValueError: There is no such colour.
    """
    return ImageColor.getrgb(name)[:3]
