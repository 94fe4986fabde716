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
    }
    INPUTS = {
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution),
    }
    OUTPUTS = {
        "genotype": component_spec.ChannelParameter(type=artifacts.Genotype),
        "hyperparameters": component_spec.ChannelParameter(type=standard_artifacts.HyperParameters),
    }


class ArchitectureDeriver(base_component.BaseComponent):
    """Derives an architecture from a learned distribution. The Trainer then trains this architecture.

    The architecture is written twice: as a Genotype artifact (JSON, which a person can read and which
    `--config.architecture` accepts), and as a HyperParameters artifact, which TFX's Trainer reads.
    """

    SPEC_CLASS = ArchitectureDeriverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, distribution: channel.BaseChannel, *, space: settings.Space, derive: settings.Derive):
        """Takes two sections of the config.

        Args:
            distribution: The distribution that SupernetSearch learned.
            space: `config.space`.
            derive: `config.derive`.
        """
        super().__init__(
            spec=ArchitectureDeriverSpec(
                distribution=distribution,
                space=space.to_json(),
                derive=derive.to_json(),
                genotype=channel.Channel(type=artifacts.Genotype),
                hyperparameters=channel.Channel(type=standard_artifacts.HyperParameters),
            )
        )
