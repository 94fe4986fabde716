"""The interface of the ArchitectureDeriver component."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.architecture_deriver import executor
from models import settings


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

    The architecture is written twice: as a Genotype artifact (JSON, which a person can read and which
    `--config.architecture` accepts), and as a HyperParameters artifact, which TFX's Trainer reads.
    """

    SPEC_CLASS = ArchitectureDeriverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        distribution: channel.BaseChannel,
        supernet: channel.BaseChannel,
        examples: channel.BaseChannel,
        *,
        space: settings.Space,
        search: settings.Search,
        data: settings.Data,
        derive: settings.Derive,
        seed: int,
        deterministic: bool,
        tuned_kernels: bool,
    ):
        """Takes the sections of the config of the same names.

        Args:
            distribution: The distribution that SupernetSearch learned.
            supernet: The weights that SupernetSearch trained, for `derive.source` "verify".
            examples: Examples with splits `train` and `val`. "verify" evaluates on `val`, with batch norm statistics of
                `train`.
            space: `config.space`.
            search: `config.search`, which defines the supernet.
            data: `config.data`.
            derive: `config.derive`.
            seed: The seed of the samples that "verify" adds.
            deterministic: Whether TensorFlow's op determinism is on.
            tuned_kernels: Whether the tuned layers are used (models/networks/kernels.py).
        """
        super().__init__(
            spec=ArchitectureDeriverSpec(
                distribution=distribution,
                supernet=supernet,
                examples=examples,
                space=space.to_json(),
                search=search.to_json(),
                data=data.to_json(),
                derive=derive.to_json(),
                seed=seed,
                deterministic=int(deterministic),
                tuned_kernels=int(tuned_kernels),
                genotype=channel.Channel(type=artifacts.Genotype),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )
