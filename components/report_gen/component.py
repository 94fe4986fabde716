"""The ReportGen component: its interface."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import artifacts
from components.report_gen import executor
from models.runtime.section import value
from models.settings import Settings, runtime_parameters


class ReportGenSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of ReportGen."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "training": component_spec.ExecutionParameter(type=str),
        # Settings that a compiled pipeline can be started with in place of the others.
        **{
            name: component_spec.ExecutionParameter(type=type(value(Settings(), key)))
            for name, key in runtime_parameters().items()
        },
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "image_report": component_spec.ChannelParameter(type=artifacts.ImageReport),
        "genotype": component_spec.ChannelParameter(type=artifacts.Genotype),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
        "distribution": component_spec.ChannelParameter(type=artifacts.Distribution, optional=True),
        "results": component_spec.ChannelParameter(type=artifacts.TunerResults, optional=True),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=artifacts.Report)}


class ReportGen(base_component.BaseComponent):
    """Shows a run on one page: the verdict, the data, the search, the architecture, training and test.

    The page needs neither a network nor JavaScript. The same artifacts and settings make the same page, byte by byte.
    """

    SPEC_CLASS = ReportGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        examples: channel.BaseChannel,
        image_report: channel.BaseChannel,
        genotype: channel.BaseChannel,
        model: channel.BaseChannel,
        model_run: channel.BaseChannel,
        evaluation: channel.BaseChannel,
        blessing: channel.BaseChannel,
        pushed_model: channel.BaseChannel,
        distribution: channel.BaseChannel | None = None,
        results: channel.BaseChannel | None = None,
        settings: Settings,
        training: str,
    ):
        """Takes what the other components wrote.

        Args:
            examples: Examples of TfdsExampleGen.
            image_report: What the ImageValidator found in them.
            genotype: The architecture that was trained.
            model: The trained model, whose wrong answers are shown.
            model_run: The Trainer's account of the training.
            evaluation: What the Evaluator measured.
            blessing: Whether it blessed the model.
            pushed_model: Whether and where to the Pusher pushed it.
            distribution: What SupernetSearch learned; None, as is `results`, when the architecture was given.
            results: Its figures of every epoch.
            settings: All settings of the run.
            training: The Trainer's parameter `custom_config`.

        Raises:
            ValueError: Only one of `distribution` and `results` is there.
        """
        if (distribution is None) != (results is None):
            raise ValueError("ReportGen needs both `distribution` and `results`, or neither.")
        super().__init__(
            spec=ReportGenSpec(
                examples=examples,
                image_report=image_report,
                genotype=genotype,
                model=model,
                model_run=model_run,
                evaluation=evaluation,
                blessing=blessing,
                pushed_model=pushed_model,
                distribution=distribution,
                results=results,
                settings=settings.to_json(),
                training=training,
                **{name: value(settings, key) for name, key in runtime_parameters().items()},
                report=channel.Channel(type=artifacts.Report),
            )
        )
