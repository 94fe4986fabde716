"""The interface of the SupernetSearch component."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.supernet_search import executor
from models import settings


class SupernetSearchSpec(component_spec.ComponentSpec):
    """Inputs, parameters and outputs of SupernetSearch."""

    PARAMETERS = {
        "space": component_spec.ExecutionParameter(type=str),
        "search": component_spec.ExecutionParameter(type=str),
        "oracle": component_spec.ExecutionParameter(type=str),
        "data": component_spec.ExecutionParameter(type=str),
        "train": component_spec.ExecutionParameter(type=str),
        "search_epochs": component_spec.ExecutionParameter(type=int),
        "seed": component_spec.ExecutionParameter(type=int),
        "deterministic": component_spec.ExecutionParameter(type=int),
        "tuned_kernels": component_spec.ExecutionParameter(type=int),
        "checkpoint_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "image_report": component_spec.ChannelParameter(type=artifacts.ImageReport),
        "plan": component_spec.ChannelParameter(type=artifacts.Plan, optional=True),
    }
    OUTPUTS = {
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution),
        "supernet": component_spec.ChannelParameter(type=artifacts.SupernetWeights),
        "results": component_spec.ChannelParameter(type=artifacts.TunerResults),
        "logs": component_spec.ChannelParameter(type=artifacts.SearchLogs),
    }


class SupernetSearch(base_component.BaseComponent):
    """Searches for an architecture: a KerasTuner oracle learns a multinomial distribution over operations.

    Each search epoch samples one operation per choice, evaluates this architecture and updates the distribution. With
    the objective "val_accuracy" the architecture is trained for one epoch on shared weights and validated
    (arXiv 1905.07529). With "spectrum" the untrained architecture is scored at the size of the final network.
    """

    SPEC_CLASS = SupernetSearchSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        image_report: channel.BaseChannel,
        plan: channel.BaseChannel | None = None,
        *,
        space: settings.Space,
        search: settings.Search,
        oracle: settings.Oracle,
        data: settings.Data,
        train: settings.Train,
        seed: int,
        deterministic: bool,
        tuned_kernels: bool,
        checkpoint_dir: str,
    ):
        """Takes settings, mostly whole sections of the config.

        Args:
            examples: Examples with splits `train` and `val`.
            image_report: The report of the ImageValidator; the search does not start with data that the ImageValidator
                refused.
            plan: The plan of a budget, whose choices replace settings; None without a budget.
            space: `config.space`.
            search: `config.search`.
            oracle: `config.oracle`.
            data: `config.data`.
            train: `config.train`. The objective "spectrum" scores networks with `config.train.cells` and
                `config.train.channels`. With `config.train.from_supernet`, the weights are written for the Trainer.
            seed: The seed of weights, data order, augmentation and sampling.
            deterministic: Whether TensorFlow's op determinism is on.
            tuned_kernels: Whether the tuned layers are used (models/networks/kernels.py).
            checkpoint_dir: The folder of the search's checkpoints, from which an interrupted search resumes.
        """
        super().__init__(
            spec=SupernetSearchSpec(
                examples=examples,
                image_report=image_report,
                plan=plan,
                space=space.to_json(),
                search=search.to_json(),
                oracle=oracle.to_json(),
                data=data.to_json(),
                # A search on shared weights knows no size of the final network, and only it can pass on weights.
                train=train.model_dump_json(
                    include={"cells", "channels"} if search.objective == "spectrum" else {"from_supernet"}
                ),
                search_epochs=search.epochs,
                seed=seed,
                deterministic=int(deterministic),
                tuned_kernels=int(tuned_kernels),
                checkpoint_dir=checkpoint_dir,
                distribution=channel.Channel(type=artifacts.Distribution),
                supernet=channel.Channel(type=artifacts.SupernetWeights),
                results=channel.Channel(type=artifacts.TunerResults),
                logs=channel.Channel(type=artifacts.SearchLogs),
            )
        )
