"""The networks that are trained in the end: a genotype, stacked to full size.

    >>> from models.networks.cell_network import cifar_network
    >>> from models.architectures.presets import PRESETS
    >>> network = cifar_network(PRESETS["mdenas_cifar10"].genotype, (32, 32, 3), classes=10)
    >>> logits = network(images)  # float32 (batch, 10)

All take float32 images (batch, height, width, channels), already normalised, and return float32
logits (batch, classes). Whatever the global policy, the classifier computes in float32.
"""

import functools

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


def _cell_network(kind, genotype, input_shape, classes, *, stems, pool_strides, last_norm, norm, **options):
    require_genotype(genotype, CellGenotype)
    input_shape = require_input(input_shape, classes, limits.HALVINGS[kind])
    smallest = limits.SMALLEST_WITH_AUXILIARY[kind]
    if options["auxiliary"] and min(input_shape[:2]) < smallest:
        raise ValueError(
            f"auxiliary: found {input_shape[0]}x{input_shape[1]} pixels; the auxiliary head needs "
            f"{smallest}x{smallest}: take larger images, or switch it off"
        )
    if not 0 <= options["drop_path"] < 1:
        raise ValueError(f"drop_path: found {options['drop_path']}; expected 0 to below 1")
    concat = {"normal": genotype.normal_concat, "reduce": genotype.reduce_concat}
    candidates = {
        kind: {
            (number, source): (name,)
            for number, node in enumerate(getattr(genotype, kind), INPUTS)
            if number in reached(getattr(genotype, kind), concat[kind])
            for name, source in node
            if name != NONE
        }
        for kind in concat
    }
    auxiliary_head = None
    if options["auxiliary"]:
        auxiliary_head = AuxiliaryHead(classes, pool_strides, last_norm, norm)
    return CellNetwork(
        genotype,
        input_shape,
        stems,
        lambda shapes: stack(
            candidates,
            concat,
            shapes,
            cells=options["cells"],
            channels=options["channels"],
            after_reduction=kind == "imagenet",
            norm=norm,
        ),
        Head(classes, options["dropout"]),
        auxiliary_head,
        options["drop_path"],
    )


def cifar_network(
    genotype: CellGenotype,
    input_shape,
    classes: int,
    *,
    channels: int = 36,
    cells: int = 20,
    auxiliary: bool = False,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> CellNetwork:
    """The network for small images (the released CIFAR-10 network).

    Args:
        genotype: the two cells.
        input_shape: (height, width, channels) of an image; 4x4 pixels or more, 29x29 with the
            auxiliary head.
        classes: number of classes, 2 or more.
        channels: channels of a node of the first cell. Default 36.
        cells: number of cells, 3 or more; reductions are a third and two thirds down. Default 20.
        auxiliary: whether to have the auxiliary head. Then a call with `training=True` returns
            `(logits, auxiliary_logits)`. Default False.
        drop_path: 0 for none; above, up to below 1, what the variable `drop_path_probability` of
            the network starts at. In training each edge that is no identity is dropped with that
            probability, for each image alone, and scaled by 1 / (1 - probability). Default 0.
        dropout: probability of dropping a feature before the classifier. Default 0.

    Raises:
        ValueError: if an argument is not as said above; GenotypeError for the genotype.
    """
    norm = functools.partial(layers.BatchNorm, epsilon=CIFAR_EPSILON)
    return _cell_network(
        "cifar",
        genotype,
        input_shape,
        classes,
        stems=(cifar_stem(channels, norm), operations.Identity()),
        pool_strides=3,
        last_norm=True,
        norm=norm,
        channels=channels,
        cells=cells,
        auxiliary=auxiliary,
        drop_path=drop_path,
        dropout=dropout,
    )


def imagenet_network(
    genotype: CellGenotype,
    input_shape,
    classes: int,
    *,
    channels: int = 48,
    cells: int = 14,
    auxiliary: bool = False,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> CellNetwork:
    """The network for large images (the released ImageNet network).

    Two stems reduce the sides to an eighth before the first cell, which counts as coming after a
    reduction. Batch norm's epsilon is 1e-3.

    Args:
        genotype: the two cells.
        input_shape: (height, width, channels) of an image; 32x32 pixels or more, 193x193 with the
            auxiliary head.
        classes: number of classes, 2 or more.
        channels: channels of a node of the first cell, even. Default 48.
        cells: number of cells, 3 or more. Default 14.
        auxiliary, drop_path, dropout: as in `cifar_network`.

    Raises:
        ValueError: if an argument is not as said above; GenotypeError for the genotype.
    """
    if channels < 2 or channels % 2:
        raise ValueError(f"channels: found {channels}; expected an even number, 2 or more")
    norm = functools.partial(layers.BatchNorm, epsilon=IMAGENET_EPSILON)
    stem0 = operations.Chain(
        [
            layers.Conv2D(channels // 2, 3, 2),
            norm(),
            ops.relu,
            layers.Conv2D(channels, 3, 2),
            norm(),
        ],
        name="stem_0",
    )
    stem1 = operations.Chain([ops.relu, layers.Conv2D(channels, 3, 2), norm()], name="stem_1")
    return _cell_network(
        "imagenet",
        genotype,
        input_shape,
        classes,
        stems=(stem0, stem1),
        pool_strides=2,
        last_norm=False,
        norm=norm,
        channels=channels,
        cells=cells,
        auxiliary=auxiliary,
        drop_path=drop_path,
        dropout=dropout,
    )
