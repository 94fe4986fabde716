"""Genotypes: descriptions of derived architectures, small immutable values that check themselves.

A `CellGenotype` describes the two cells (normal and reduction) that a network stacks, a
`MobileGenotype` the blocks of an inverted-residual chain, a `NasBench201Genotype` the one cell of
NAS-Bench-201. None knows how networks are built: this module needs nothing but the standard library.

The JSON of a genotype names its space:

    {"space": "cell", "normal": [[["sep_conv_5x5", 1], ["sep_conv_3x3", 0]], ... 4 nodes],
     "normal_concat": [2, 3, 4, 5], "reduce": [...], "reduce_concat": [2, 3, 4, 5]}
    {"space": "mobile", "backbone": "mdenas_gpu", "blocks": [[7, 6], [5, 6], ..., null, ...]}
    {"space": "nasbench201", "operations": ["nor_conv_3x3", "none", ... 6 edges]}

where `null` is a block left out. A backbone that is not one of `BACKBONES` is written out in full. The edges are in the
order of `models.architectures.nasbench201.EDGES`.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, cast

from models.architectures.cell import CellGenotype
from models.architectures.checks import GenotypeError, require_fields
from models.architectures.mobile import MobileGenotype
from models.architectures.nasbench201 import NasBench201Genotype

Genotype = CellGenotype | MobileGenotype | NasBench201Genotype

_KINDS: dict[str, type[Genotype]] = {"cell": CellGenotype, "mobile": MobileGenotype, "nasbench201": NasBench201Genotype}


def genotype_from_dict(data: Any) -> Genotype:
    """Returns the genotype that JSON data (see the module's docstring) describes.

    Raises:
        GenotypeError: if the data describe no valid genotype.
    """
    found = cast(Mapping[Any, Any], data).get("space") if isinstance(data, Mapping) else data
    if not isinstance(found, str) or found not in _KINDS:
        raise GenotypeError(f"space: found {found!r}; expected one of {', '.join(map(repr, _KINDS))}")
    kind = _KINDS[found]
    fields = {str(key): value for key, value in cast(Mapping[Any, Any], data).items() if key != "space"}
    require_fields("genotype", fields, {field.name for field in dataclasses.fields(kind)}, set())
    return kind(**fields)


def load_genotype(path: str | os.PathLike[str]) -> Genotype:
    """Reads a genotype from a JSON file.

    Raises:
        GenotypeError: if the file's content is no genotype; the message names the file.
        OSError: if the file cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return genotype_from_dict(json.load(file))
        except GenotypeError as error:
            raise GenotypeError(f"{os.fspath(path)}: {error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise GenotypeError(f"{os.fspath(path)}: not a JSON file: {error}") from error
