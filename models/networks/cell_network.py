"""The networks that are trained in the end: a genotype, stacked to full size.

    >>> from models.networks.cell_network import cifar_network
    >>> from models.architectures.presets import PRESETS
    >>> network = cifar_network(PRESETS["mdenas_cifar10"].genotype, (32, 32, 3), classes=10)
    >>> logits = network(images)  # float32 (batch, 10)

All take float32 images (batch, height, width, channels), already normalised, and return float32
logits (batch, classes). Whatever the global policy, the classifier computes in float32.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
from keras import ops

from models.architectures import limits
from models.architectures.cell import INPUTS, NONE, CellGenotype, reached
from models.architectures.checks import require_genotype
from models.networks import layers, operations
from models.networks.cell import stack
from models.networks.heads import CIFAR_EPSILON, IMAGENET_EPSILON, AuxiliaryHead, Head, require_input

STEM_MULTIPLIER = 3  # channels of the CIFAR stem, in channels of a node


def cifar_stem(channels: int, norm: operations.Norm) -> operations.Chain:
    """3x3 convolution to `STEM_MULTIPLIER * channels` and batch norm."""
    return operations.Chain([layers.Conv2D(STEM_MULTIPLIER * channels, 3), norm()], name="stem")


class CellNetwork(keras.Model):
    """A stack of cells between a stem and a head. Make one by `cifar_network`, `imagenet_network`.

    Args:
        genotype: the two cells.
        input_shape: (height, width, channels) of an image.
        stems: two layers; the first sees the image, the second the first one's output, and they
            give the inputs of the first cell. The second may be an `Identity`.
        cells: a function from the stems' output shapes to the built stack of cells.
        head: the classifier.
        auxiliary_head: None or the auxiliary head.
        drop_path: as for `cifar_network`.
    """

    def __init__(self, genotype, input_shape, stems, cells, head, auxiliary_head, drop_path, **kwargs):
        super().__init__(**kwargs)
        self.genotype = genotype
        self.stems = list(stems)
        shape = (None, *input_shape)
        shapes = []
        for stem in self.stems:
            stem.build(shape)
            shape = stem.compute_output_shape(shape)
            shapes.append(shape)
        self.cells = cells(shapes)
        self.auxiliary_index = 2 * len(self.cells) // 3
        self.auxiliary_head = auxiliary_head
        for index, cell in enumerate(self.cells):
            shapes = [shapes[1], cell.compute_output_shape(*shapes)]
            if auxiliary_head is not None and index == self.auxiliary_index:
                auxiliary_head.build(shapes[1])
        self.head = head
        self.head.build(shapes[1])
        self.drop_path_probability = None
        if drop_path:
            self.drop_path_probability = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(drop_path),
                trainable=False,
                autocast=False,
                name="drop_path_probability",
            )
            self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, images, training=False):
        state = self.stems[0](images)
        states = (state, self.stems[1](state))
        masks = self._drop_path_masks(images) if training else [None] * len(self.cells)
        auxiliary_logits = None
        for index, cell in enumerate(self.cells):
            states = (states[1], cell(*states, nodes=self._nodes(cell), masks=masks[index]))
            if training and self.auxiliary_head is not None and index == self.auxiliary_index:
                auxiliary_logits = self.auxiliary_head(states[1])
        logits = self.head(states[1])
        return logits if auxiliary_logits is None else (logits, auxiliary_logits)

    def positions(self) -> dict[str, keras.layers.Layer]:
        """Returns the layers by their place (models/networks/inheritance.py)."""
        inside = {place: layer for cell in self.cells for place, layer in cell.positions().items()}
        return {**{stem.name: stem for stem in self.stems}, **inside, self.head.name: self.head}

    def _nodes(self, cell):
        return self.genotype.reduce if cell.reduction else self.genotype.normal

    def _drop_path_masks(self, images):
        """For each cell, float (batch, droppable edges): 0 or 1 / keep, for each image alone."""
        if self.drop_path_probability is None:
            return [None] * len(self.cells)
        counts = [cell.droppable(self._nodes(cell)) for cell in self.cells]
        keep = 1.0 - ops.convert_to_tensor(self.drop_path_probability)
        # One draw for all edges: hundreds of small ones would cost more than the cells' arithmetic.
        draws = keras.random.uniform((ops.shape(images)[0], sum(counts)), seed=self.seed_generator)
        masks = ops.cast(draws < keep, "float32") / keep
        ends = [sum(counts[: i + 1]) for i in range(len(counts) - 1)]
        return ops.split(masks, ends, axis=1)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What tells the networks of one image size from those of another.

    Attributes:
        name: What configurations call it; key of models/architectures/limits.py.
        channels: Channels of a node of the first cell, by default.
        cells: Number of cells, by default.
        epsilon: Of batch norm.
        stems: Makes the two stems from the channels and what makes a batch norm layer.
        after_reduction: Whether the first cell counts as coming after a reduction.
        pool_strides: Stride of the auxiliary head's pool.
        last_norm: Whether batch norm follows the auxiliary head's last convolution.
    """

    name: str
    channels: int
    cells: int
    epsilon: float
    stems: Callable[[int, operations.Norm], tuple[keras.layers.Layer, keras.layers.Layer]]
    after_reduction: bool
    pool_strides: int
    last_norm: bool


def cell_network(
    kind: Kind,
    genotype: CellGenotype,
    input_shape,
    classes: int,
    *,
    channels: int | None = None,
    cells: int | None = None,
    auxiliary: bool = False,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> CellNetwork:
    """Returns the network of a cell genotype; `cifar_network` and `imagenet_network` are this function for their kind.

    Args:
        kind: `CIFAR` or `IMAGENET`.
        genotype: the two cells.
        input_shape: (height, width, channels) of an image; CIFAR: 4x4 pixels or more, 29x29 with the auxiliary head;
            IMAGENET: 32x32, 193x193.
        classes: number of classes, 2 or more.
        channels: channels of a node of the first cell; even for IMAGENET. Default: 36 and 48.
        cells: number of cells, 3 or more; reductions are a third and two thirds down. Default: 20 and 14.
        auxiliary: whether to have the auxiliary head. Then a call with `training=True` returns
            `(logits, auxiliary_logits)`. Default False.
        drop_path: 0 for none; above, up to below 1, what the variable `drop_path_probability` of
            the network starts at. In training each edge that is no identity is dropped with that
            probability, for each image alone, and scaled by 1 / (1 - probability). Default 0.
        dropout: probability of dropping a feature before the classifier. Default 0.

    Raises:
        ValueError: if an argument is not as said above; GenotypeError for the genotype.
    """
    channels = kind.channels if channels is None else channels
    require_genotype(genotype, CellGenotype)
    norm = functools.partial(layers.BatchNorm, epsilon=kind.epsilon)
    stems = kind.stems(channels, norm)
    input_shape = require_input(input_shape, classes, limits.HALVINGS[kind.name])
    smallest = limits.SMALLEST_WITH_AUXILIARY[kind.name]
    if auxiliary and min(input_shape[:2]) < smallest:
        raise ValueError(
            f"auxiliary: found {input_shape[0]}x{input_shape[1]} pixels; the auxiliary head needs "
            f"{smallest}x{smallest}: take larger images, or switch it off"
        )
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path: found {drop_path}; expected 0 to below 1")
    concat = {"normal": genotype.normal_concat, "reduce": genotype.reduce_concat}
    candidates = {
        cell: {
            (number, source): (name,)
            for number, node in enumerate(getattr(genotype, cell), INPUTS)
            if number in reached(getattr(genotype, cell), concat[cell])
            for name, source in node
            if name != NONE
        }
        for cell in concat
    }
    # Layers draw their seeds when they are made: another order would be another initialization.
    auxiliary_head = AuxiliaryHead(classes, kind.pool_strides, kind.last_norm, norm) if auxiliary else None
    return CellNetwork(
        genotype,
        input_shape,
        stems,
        lambda shapes: stack(
            candidates,
            concat,
            shapes,
            cells=kind.cells if cells is None else cells,
            channels=channels,
            after_reduction=kind.after_reduction,
            norm=norm,
        ),
        Head(classes, dropout),
        auxiliary_head,
        drop_path,
    )


def _cifar_stems(channels, norm):
    return cifar_stem(channels, norm), operations.Identity()


def _imagenet_stems(channels, norm):
    """Two stems that reduce the sides to an eighth."""
    if channels < 2 or channels % 2:
        raise ValueError(f"channels: found {channels}; expected an even number, 2 or more")
    first = [layers.Conv2D(channels // 2, 3, 2), norm(), ops.relu, layers.Conv2D(channels, 3, 2), norm()]
    second = [ops.relu, layers.Conv2D(channels, 3, 2), norm()]
    return operations.Chain(first, name="stem_0"), operations.Chain(second, name="stem_1")


CIFAR = Kind("cifar", 36, 20, CIFAR_EPSILON, _cifar_stems, after_reduction=False, pool_strides=3, last_norm=True)
"""Small images: the released CIFAR-10 network."""
IMAGENET = Kind(
    "imagenet", 48, 14, IMAGENET_EPSILON, _imagenet_stems, after_reduction=True, pool_strides=2, last_norm=False
)
"""Large images: the released ImageNet network."""

cifar_network = functools.partial(cell_network, CIFAR)
imagenet_network = functools.partial(cell_network, IMAGENET)
