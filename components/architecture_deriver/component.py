"""The ArchitectureDeriver component: its interface."""

import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.architecture_deriver import executor
from models.search.derivation import SOURCES


class ArchitectureDeriverSpec(component_spec.ComponentSpec):
    """Inputs, parameters and outputs of ArchitectureDeriver."""

    PARAMETERS = {
        "space": component_spec.ExecutionParameter(type=str),
        "search": component_spec.ExecutionParameter(type=str),
        "data": component_spec.ExecutionParameter(type=str),
        "derive": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
        "deterministic": component_spec.ExecutionParameter(type=int),
        "tuned_kernels": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution),
        "supernet": component_spec.ChannelParameter(type=artifacts.SupernetWeights),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {
        "genotype": component_spec.ChannelParameter(type=artifacts.Genotype),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class ArchitectureDeriver(base_component.BaseComponent):
    """Derives the architecture to train from a learned distribution.

    Writes it twice: as a Genotype artifact, JSON that a person can read and `--config.architecture` takes, and as
    HyperParameters, which the stock Trainer takes.
    """

    SPEC_CLASS = ArchitectureDeriverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        distribution: channel.BaseChannel,
        supernet: channel.BaseChannel,
        examples: channel.BaseChannel,
        *,
        space: Mapping[str, Any],
        search: Mapping[str, Any],
        data: Mapping[str, Any],
        derive: Mapping[str, Any],
        seed,
        deterministic: bool,
        tuned_kernels: bool,
    ):
        """Takes the sections of the config of the same names.

        Args:
            distribution: What SupernetSearch learned.
            supernet: The weights it trained, for `derive.source` "verify".
            examples: "verify" evaluates on their split `val`, with batch norm statistics from `train`.
            space: `config.space`.
            search: `config.search`, which says how the supernet is built.
            data: `config.data`.
            derive: `config.derive`.
            seed: Of the samples that "verify" adds; an int or a RuntimeParameter of int.
            deterministic: Whether TensorFlow's op determinism is on.
            tuned_kernels: Whether the tuned TensorFlow paths are used (models/networks/kernels.py).

        Raises:
            ValueError: `derive.source` is not known.
        """
        if derive["source"] not in SOURCES:
            raise ValueError(f"config.derive.source is {derive['source']!r}; allowed are {', '.join(SOURCES)}.")
        super().__init__(
            spec=ArchitectureDeriverSpec(
                distribution=distribution,
                supernet=supernet,
                examples=examples,
                space=json.dumps(space, sort_keys=True),
                search=json.dumps(search, sort_keys=True),
                data=json.dumps(data, sort_keys=True),
                derive=json.dumps(derive, sort_keys=True),
                seed=seed,
                deterministic=int(deterministic),
                tuned_kernels=int(tuned_kernels),
                genotype=channel.Channel(type=artifacts.Genotype),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )
