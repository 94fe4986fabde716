"""The executor of the ArchitectureDeriver component."""

from collections.abc import Callable, Mapping
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from components.examples import load_split
from components.genotype_io import write_genotype
from components.parameters import parse_settings
from models.oracle.distribution import Distribution
from models.runtime import artifact_files, setup
from models.search import derivation, tuner
from models.search_spaces import base
from models.search_spaces.registry import create_space
from models.settings import Settings


class Executor(base_executor.BaseExecutor):
    """Derives an architecture and writes it."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters."""
        settings = parse_settings(exec_properties, "space", "search", "data", "derive")
        derive, space = settings.derive, create_space(settings.space)
        uri = artifact_utils.get_single_uri(input_dict["distribution"])
        distribution = artifact_files.DISTRIBUTION.load(uri, Distribution.from_document)
        elected, candidates = derivation.derive(
            space,
            distribution,
            derive.source,
            samples=derive.samples,
            seed=settings.seed,
            evaluate=_evaluation(space, input_dict, settings) if derive.source == "verify" else None,
        )
        warnings = _warnings(len(elected.undecided), len(space.choices))
        for warning in warnings:
            logging.warning("%s", warning)
        learned = len(elected.undecided) < len(space.choices)
        write_genotype(
            output_dict,
            elected.genotype,
            f"search, {elected.origin}" if learned else "a uniform distribution, not a search",
            source=derive.source,
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
    space: base.SearchSpace, input_dict: dict[str, list[artifact.Artifact]], settings: Settings
) -> Callable[[Mapping[str, str]], float]:
    """Returns a function that evaluates a path: it returns the validation accuracy with the weights of the supernet."""
    setup.set_up(
        seed=settings.seed,
        deterministic=settings.deterministic,
        tuned_kernels=settings.tuned_kernels,
        mixed_precision=settings.search.mixed_precision,
    )
    train, val = (load_split(input_dict["examples"], split, settings.data) for split in ("train", "val"))
    trainer = tuner.path_trainer(space, settings.search, val.image_shape, len(val.class_names))
    trainer.restore(artifact_files.SUPERNET.load(artifact_utils.get_single_uri(input_dict["supernet"])))
    return lambda path: tuner.validate_path(trainer, path, val, train, settings.search, settings.seed)["accuracy"]
