"""The ArchitectureDeriver component: what it does."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.examples import load_split
from components.genotype_io import write_genotype
from models.oracle.distribution import Distribution
from models.runtime import artifact_files, setup
from models.search import derivation, tuner
from models.search_spaces import base
from models.search_spaces.registry import create_space


class Executor(base_executor.BaseExecutor):
    """Derives the architecture and writes it."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters."""
        derive = json.loads(exec_properties["derive"])
        space = create_space(json.loads(exec_properties["space"]))
        uri = artifact_utils.get_single_uri(input_dict["distribution"])
        distribution = artifact_files.DISTRIBUTION.load(uri, Distribution.from_document)
        elected, candidates = derivation.derive(
            space,
            distribution,
            derive["source"],
            samples=derive["samples"],
            seed=exec_properties["seed"],
            evaluate=_evaluation(space, input_dict, exec_properties) if derive["source"] == "verify" else None,
        )
        warnings = _warnings(len(elected.undecided), len(space.choices))
        for warning in warnings:
            logging.warning("%s", warning)
        learned = len(elected.undecided) < len(space.choices)
        write_genotype(
            output_dict,
            elected.genotype,
            f"search, {elected.origin}" if learned else "a uniform distribution, not a search",
            source=derive["source"],
            elected=elected.origin,
            warnings=warnings,
            candidates=[
                {"origin": candidate.origin, "accuracy": candidate.accuracy, "genotype": candidate.genotype.to_dict()}
                for candidate in candidates
            ],
        )


def _warnings(undecided: int, choices: int) -> list[str]:
    if not undecided:
        return []
    if undecided == choices:
        return [
            "The distribution is still uniform: the search has learned nothing, and the architecture, the first "
            "operation of each choice, is no better than any other. Give it more epochs (config.search.epochs)."
        ]
    return [
        f"The distribution prefers no operation in {undecided} of {choices} choices: the first of equals was taken."
    ]


def _evaluation(
    space: base.SearchSpace, input_dict: dict[str, list[artifact.Artifact]], exec_properties: dict[str, Any]
) -> Callable[[Mapping[str, str]], float]:
    """Returns a function from a path to its validation accuracy on the searched supernet."""
    search, data = (json.loads(exec_properties[name]) for name in ("search", "data"))
    setup.set_up(
        seed=exec_properties["seed"],
        deterministic=bool(exec_properties["deterministic"]),
        tuned_kernels=bool(exec_properties["tuned_kernels"]),
        mixed_precision=search["mixed_precision"],
    )
    train, val = (load_split(input_dict["examples"], split, data) for split in ("train", "val"))
    trainer = tuner.path_trainer(space, search, val.image_shape, len(val.class_names))
    trainer.restore(artifact_files.SUPERNET.load(artifact_utils.get_single_uri(input_dict["supernet"])))
    seed = exec_properties["seed"]
    return lambda path: tuner.validate_path(trainer, path, val, train, search, seed)["accuracy"]
