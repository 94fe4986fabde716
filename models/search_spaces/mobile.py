"""The paper's mobile search space (section 4.3): the kernel and the expansion of each inverted-residual block.

The backbone fixes how many blocks there are, their widths and their strides. A block that has a shortcut can also be
left out, so that the depth is searched too.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.architectures.checks import GenotypeError, require_genotype
from models.architectures.choices import Choice, Path, require_probabilities
from models.architectures.mobile import OPERATIONS, SKIP, Backbone, MobileGenotype, parse, path_genotype

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.networks.mobile_supernet import MobileSupernet


def create(operations: Sequence[str] = OPERATIONS, backbone: str | Mapping | Backbone = "mdenas_gpu") -> "MobileSpace":
    """Returns the mobile search space.

    Args:
        operations: the candidates of every block: `k<kernel>_e<expansion>`, an odd kernel and an expansion of 1 or
            more, and `skip`, which only blocks with a shortcut are offered. Default: the paper's kernels 3, 5, 7 and
            expansions 1, 3, 6, and `skip`.
        backbone: a name of `models.architectures.mobile.BACKBONES`, or the fields of a `Backbone`. Default
            "mdenas_gpu".

    Raises:
        ValueError: if an operation is malformed or repeats, if there is none but `skip`, or if the backbone is not
            as said above.
    """
    return MobileSpace(operations, Backbone.create(backbone))


class MobileSpace:
    """See `create`."""

    name = "mobile"

    def __init__(self, operations: Sequence[str], backbone: Backbone):
        operations = tuple(operations)
        if len(set(operations)) != len(operations):
            raise ValueError(f"space.operations: {', '.join(operations)}: one repeats")
        blocks = tuple(name for name in operations if parse(name) is not None)
        if not blocks:
            raise ValueError(f"space.operations: expected at least one besides skip, such as {OPERATIONS[0]}")
        self.backbone = backbone
        self.choices = tuple(
            Choice(f"block_{index}", operations if backbone.shortcut(index) else blocks)
            for index in range(len(backbone.blocks))
        )

    def supernet(self, input_shape, classes: int) -> "MobileSupernet":
        """Returns the supernet of the search; the backbone says how wide and deep it is.

        Args:
            input_shape: (height, width, channels) of an image, as large as the backbone's strides need.
            classes: number of classes, 2 or more.

        Raises:
            ValueError: if an argument is not as said above.
        """
        from models.networks.mobile_supernet import MobileSupernet

        return MobileSupernet(self.backbone, self.choices, input_shape, classes)

    def network(
        self,
        genotype: MobileGenotype,
        input_shape,
        classes: int,
        *,
        network: str = "mobile",
        dropout: float = 0.0,
    ) -> "keras.Model":
        """Returns the network of a genotype.

        Args:
            genotype: what `derive`, `genotype` or a preset gives, of any backbone.
            input_shape: (height, width, channels) of an image, as large as the backbone's strides need.
            classes: number of classes, 2 or more.
            network: "mobile", the only kind.
            dropout: of `models.networks.mobile_network.mobile_network`.

        Raises:
            ValueError: if an argument is not as said above; GenotypeError for the genotype.
        """
        from models.networks.mobile_network import mobile_network

        if network != "mobile":
            raise ValueError(f"network: found {network!r}; expected 'mobile' with the mobile space")
        return mobile_network(genotype, input_shape, classes, dropout=dropout)

    def genotype(self, path: Path) -> MobileGenotype:
        """Returns the genotype of a path, complete."""
        return path_genotype(path, self.backbone)

    def derive(self, probabilities: Mapping[str, Sequence[float]]) -> MobileGenotype:
        """For each block the most probable operation; of equals the first wins."""
        path = {}
        for choice in self.choices:
            require_probabilities(choice, probabilities)
            candidates = zip(choice.operations, probabilities[choice.name], strict=True)
            path[choice.name] = max(candidates, key=lambda pair: pair[1])[0]
        return self.genotype(path)

    def repair(self, path: Path, generator: "np.random.Generator") -> dict[str, str]:
        """Returns the path as it is: every path is that of a genotype."""
        return dict(path)

    def path(self, genotype: MobileGenotype) -> dict[str, str]:
        """Returns the operation of every block."""
        require_genotype(genotype, MobileGenotype)
        if genotype.backbone != self.backbone:
            raise GenotypeError(
                f"backbone: found {genotype.backbone.to_dict()}; this space has {self.backbone.to_dict()}"
            )
        path = {}
        for choice, block in zip(self.choices, genotype.blocks, strict=True):
            name = SKIP if block is None else f"k{block[0]}_e{block[1]}"
            if name not in choice.operations:
                raise GenotypeError(
                    f"{choice.name}: {name} is not in this space; expected one of {', '.join(choice.operations)}"
                )
            path[choice.name] = name
        return path
