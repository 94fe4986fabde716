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
        "derive": component_spec.ExecutionParameter(type=str),
        "training": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "latency_table": component_spec.ChannelParameter(type=artifacts.LatencyTable, optional=True),
    }
    OUTPUTS = {
        "genotype": component_spec.ChannelParameter(type=artifacts.Genotype),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class ArchitectureDeriver(base_component.BaseComponent):
    """Derives an architecture from a learned distribution. The Trainer then trains this architecture.

    The architecture is written twice: as a Genotype artifact (JSON, which a person can read and which
    `--config.architecture` accepts), and as a HyperParameters artifact, which TFX's Trainer reads.
    `config.derive.front` adds further architectures, as files beside the first one.
    """

    SPEC_CLASS = ArchitectureDeriverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        distribution: channel.BaseChannel,
        examples: channel.BaseChannel | None = None,
        latency_table: channel.BaseChannel | None = None,
        *,
        space: settings.Space,
        derive: settings.Derive,
        training: str | None = None,
    ):
        """Takes two sections of the config, and what the costs of a network depend on.

        Args:
            distribution: The distribution that SupernetSearch learned.
            examples: Examples of TfdsExampleGen, for the shape of the images and the number of classes; None if
                `derive` needs no costs.
            latency_table: The table of LatencyTable; None if latency is not known.
            space: `config.space`.
            derive: `config.derive`.
            training: The Trainer's parameter `custom_config`; None if `derive` needs no costs.

        Raises:
            ValueError: `derive` needs costs, and `examples` or `training` is missing.
        """
        if derive.needs_costs and (examples is None or training is None):
            raise ValueError("ArchitectureDeriver needs `examples` and `training` for a budget or a front.")
        super().__init__(
            spec=ArchitectureDeriverSpec(
                distribution=distribution,
                examples=examples,
                space=space.to_json(),
                derive=derive.to_json(),
                training=training,
                latency_table=latency_table,
                genotype=channel.Channel(type=artifacts.Genotype),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )
