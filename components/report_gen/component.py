"""The interface of the ReportGen component."""

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
        # Settings that can be set anew at each start of a compiled pipeline. They replace the values in `settings`.
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
        "plan": component_spec.ChannelParameter(type=artifacts.Plan, optional=True),
        "baselines": component_spec.ChannelParameter(type=artifacts.Baselines, optional=True),
        "exports": component_spec.ChannelParameter(type=artifacts.Exports, optional=True),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=artifacts.Report)}


class ReportGen(base_component.BaseComponent):
    """Shows a run on one page: the verdict, the data, the search, the architecture, training and test.

    The page needs neither a network nor JavaScript. The same artifacts and settings give the same page, byte by byte.
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
        plan: channel.BaseChannel | None = None,
        baselines: channel.BaseChannel | None = None,
        exports: channel.BaseChannel | None = None,
        settings: Settings,
        training: str,
    ):
        """Takes the artifacts of the other components.

        Args:
            examples: Examples of TfdsExampleGen.
            image_report: The report of the ImageValidator on these examples.
            genotype: The architecture that was trained.
            model: The trained model. The page shows some of its mistakes.
            model_run: The Trainer's record of the training.
            evaluation: The results of the Evaluator.
            blessing: Whether the Evaluator blessed the model.
            pushed_model: Whether the Pusher pushed the model, and to which folder.
            distribution: The distribution that SupernetSearch learned; None if the architecture was given.
            results: The figures of every epoch of SupernetSearch; None if the architecture was given.
            plan: The corrected plan of a budget; None without a budget.
            baselines: The comparison with the baselines; None if there are none.
            exports: The model in other formats; None if there are none.
            settings: All settings of the run.
            training: The Trainer's parameter `custom_config`.

        Raises:
            ValueError: Only one of `distribution` and `results` is given.
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
                plan=plan,
                baselines=baselines,
                exports=exports,
                settings=settings.to_json(),
                training=training,
                **{name: value(settings, key) for name, key in runtime_parameters().items()},
                report=channel.Channel(type=artifacts.Report),
            )
        )
