"""The mobile genotype: a chain of inverted-residual blocks on a fixed backbone (section 4.3 of the paper)."""

import re
from dataclasses import dataclass
from typing import Any

from models.architectures.checks import (
    GenotypeError,
    is_int,
    is_list,
    require_count,
    require_fields,
    require_stride,
)
from models.architectures.choices import Path


@dataclass(frozen=True)
class Backbone:
    """What a mobile network keeps fixed while its blocks are searched.

    Args:
        stem: channels of the first 3x3 convolution.
        blocks: `(channels, stride)` of each inverted-residual block; strides are 1 or 2.
        head: channels of the last 1x1 convolution.
        stem_stride: stride of the first convolution, 1 or 2.

    Raises:
        GenotypeError: if a value is not as said above.
    """

    stem: int
    blocks: tuple[tuple[int, int], ...]
    head: int
    stem_stride: int = 2

    def __post_init__(self):
        require_count("backbone.stem", self.stem)
        require_count("backbone.head", self.head)
        require_stride("backbone.stem_stride", self.stem_stride)
        if not is_list(self.blocks) or not self.blocks:
            raise GenotypeError(f"backbone.blocks: found {self.blocks!r}; expected a list of [channels, stride]")
        for i, block in enumerate(self.blocks):
            if not is_list(block) or len(block) != 2:
                raise GenotypeError(f"backbone.blocks[{i}]: found {block!r}; expected [channels, stride]")
            require_count(f"backbone.blocks[{i}], channels", block[0])
            require_stride(f"backbone.blocks[{i}], stride", block[1])
        object.__setattr__(self, "blocks", tuple(tuple(block) for block in self.blocks))

    def shortcut(self, block: int) -> bool:
        """Returns whether a block has an identity shortcut: stride 1, as many channels out as in."""
        channels_in = self.blocks[block - 1][0] if block else self.stem
        return self.blocks[block] == (channels_in, 1)

    @property
    def halvings(self) -> int:
        """How many times the sides of an image are halved."""
        return [self.stem_stride, *(stride for _, stride in self.blocks)].count(2)

    def to_dict(self) -> dict[str, Any]:
        """Returns the backbone as JSON-compatible data."""
        return {
            "stem": self.stem,
            "stem_stride": self.stem_stride,
            "blocks": [list(block) for block in self.blocks],
            "head": self.head,
        }

    @classmethod
    def create(cls, value: Any) -> "Backbone":
        """Returns the backbone that a name of `BACKBONES` or its written-out form stands for."""
        if isinstance(value, Backbone):
            return value
        if isinstance(value, str):
            if value not in BACKBONES:
                raise GenotypeError(
                    f"backbone: found {value!r}; expected one of {sorted(BACKBONES)} or an object "
                    "with the fields stem, blocks, head and, where it is not 2, stem_stride"
                )
            return BACKBONES[value]
        require_fields("backbone", value, {"stem", "blocks", "head"}, {"stem_stride"})
        return cls(**value)


@dataclass(frozen=True)
class MobileGenotype:
    """A chain of inverted-residual blocks (the paper's mobile setting).

    Args:
        backbone: a name of `BACKBONES`, a `Backbone`, or a mapping of its fields.
        blocks: for each block of the backbone `(kernel, expansion)`, an odd kernel size and an
            expansion of at least 1; or None to leave the block out, where it has a shortcut.

    Raises:
        GenotypeError: if a value is not as said above.
    """

    backbone: Backbone
    blocks: tuple[tuple[int, int] | None, ...]

    def __post_init__(self):
        object.__setattr__(self, "backbone", Backbone.create(self.backbone))
        expected = len(self.backbone.blocks)
        if not is_list(self.blocks) or len(self.blocks) != expected:
            found = len(self.blocks) if is_list(self.blocks) else repr(self.blocks)
            raise GenotypeError(f"blocks: found {found}; expected the backbone's {expected} blocks")
        for i, block in enumerate(self.blocks):
            if block is None:
                if not self.backbone.shortcut(i):
                    raise GenotypeError(
                        f"blocks[{i}]: found null; only a block with a shortcut (stride 1, as many "
                        "channels out as in) can be left out: give [kernel, expansion]"
                    )
                continue
            if not is_list(block) or len(block) != 2 or not all(map(is_int, block)):
                raise GenotypeError(f"blocks[{i}]: found {block!r}; expected [kernel, expansion]")
            kernel, expansion = block
            if kernel < 1 or kernel % 2 == 0:
                raise GenotypeError(f"blocks[{i}], kernel: found {kernel}; expected an odd number")
            if expansion < 1:
                raise GenotypeError(f"blocks[{i}], expansion: found {expansion}; expected 1 or more")
        blocks = tuple(block and tuple(block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)

    def to_dict(self) -> dict[str, Any]:
        """Returns the genotype as JSON-compatible data; `models.architectures.genotype.genotype_from_dict` reads it."""
        return {
            "space": "mobile",
            "backbone": self._backbone_name() or self.backbone.to_dict(),
            "blocks": [block and list(block) for block in self.blocks],
        }

    def text(self) -> str:
        """Returns the genotype in one line: the backbone, then `k7_e6` or the like or `skip` a block."""
        names = [f"k{block[0]}_e{block[1]}" if block else "skip" for block in self.blocks]
        return f"{self._backbone_name() or 'custom'}: {' '.join(names)}"

    def _backbone_name(self) -> str | None:
        return next((name for name, b in BACKBONES.items() if b == self.backbone), None)


BACKBONES: dict[str, Backbone] = {
    "mdenas_gpu": Backbone(
        stem=40,
        blocks=(
            *((24, 1), (32, 2), (56, 2), (56, 1), (112, 2), (112, 1), (128, 1)),
            *((128, 1), (128, 1), (256, 2), (256, 1), (256, 1), (256, 1), (432, 1)),
        ),
        head=1728,
    ),
    "mdenas_cpu": Backbone(
        stem=40,
        blocks=(
            *((24, 1), (32, 2), (32, 1), (32, 1), (32, 1), (48, 2), (48, 1)),
            *((48, 1), (48, 1), (88, 2), (88, 1), (104, 1), (104, 1), (104, 1)),
            *((104, 1), (216, 2), (216, 1), (216, 1), (216, 1), (360, 1)),
        ),
        head=1432,
    ),
}
"""The widths, strides and depths of the released mobile networks."""


SKIP = "skip"
OPERATIONS = (*(f"k{kernel}_e{expansion}" for kernel in (3, 5, 7) for expansion in (1, 3, 6)), SKIP)


def parse(name: str) -> tuple[int, int] | None:
    """Returns the (kernel, expansion) of an operation's name, None for `skip`.

    Raises:
        ValueError: if the name is no operation's.
    """
    if name == SKIP:
        return None
    match = re.fullmatch(r"k(\d*[13579])_e([1-9]\d*)", str(name))
    if not match:
        raise ValueError(
            f"unknown operation {name!r}; expected skip, or k<kernel>_e<expansion> with an odd kernel and an "
            f"expansion of 1 or more, such as {OPERATIONS[0]}"
        )
    return int(match[1]), int(match[2])


def path_genotype(path: Path, backbone: Backbone) -> MobileGenotype:
    """Returns the genotype of a path.

    Raises:
        ValueError: if the path lacks a block or has one that is none; GenotypeError if a block cannot be left out.
    """
    expected = [f"block_{index}" for index in range(len(backbone.blocks))]
    if set(path) != set(expected):
        raise ValueError(
            f"path: missing {sorted(set(expected) - set(path))}, unknown {sorted(set(path) - set(expected))}"
        )
    return MobileGenotype(backbone, tuple(parse(path[name]) for name in expected))
