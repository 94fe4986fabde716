"""The stages of the pipeline: the components of each stage, with their inputs and settings."""

import json
import os
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.components import BulkInferrer, ExampleValidator, InfraValidator, StatisticsGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import importer, resolver
from tfx.proto import bulk_inferrer_pb2, infra_validator_pb2, pusher_pb2
from tfx.types import channel, standard_artifacts
from tfx.utils import json_utils

from components import artifacts
from components.architecture_deriver.component import ArchitectureDeriver
from components.architecture_importer.component import ArchitectureImporter
from components.architecture_importer.source import artifact_of
from components.baseline import LatestComparableModel
from components.baselines.component import Baselines
from components.evaluator.component import Evaluator
from components.exporter.component import Exporter
from components.image_validator.component import SCHEMA_FILE, ImageValidator
from components.latency_table.component import LatencyTable
from components.planner.component import SearchPlanner, TrainingPlanner
from components.pusher.component import Pusher
from components.report_gen.component import ReportGen
from components.supernet_search.component import SupernetSearch
from components.teacher.component import Teacher
from components.tfds_example_gen.component import TfdsExampleGen
from components.trainer.component import Trainer
from models.costs import latency_table, runtimes
from models.settings import Deploy, Evaluate, Settings
from pipeline import validation
from pipeline.ingested import Ingested

LATEST_BLESSED = "latest blessed"


class Stages:
    """Creates the components of a pipeline, stage by stage. Later stages use attributes that earlier stages set.

    Args:
        settings: All settings.
        local: Whether the components run on this device.

    Attributes:
        components: All components created so far, in this order.
    """

    def __init__(self, settings: Settings, local: bool):
        self.components: list[base_node.BaseNode] = []
        self._settings = settings
        self._local = local
        self._common = {name: getattr(settings, name) for name in ("seed", "deterministic", "tuned_kernels")}

    def ingest(self) -> None:
        """Writes the images as examples, and computes statistics of the examples."""
        self.examples = self._add(TfdsExampleGen(**dict(self._settings.data)))
        self.statistics = self._add(StatisticsGen(examples=self._examples()))

    def adopt(self, ingested: Ingested) -> None:
        """Uses the examples of another root, which were read and checked there."""
        ingested.require(TfdsExampleGen(**dict(self._settings.data)).exec_properties)
        self.examples, self.images = (self._add(node) for node in ingested.importers())

    def validate(self) -> None:
        """Checks the examples against the schema, and every image."""
        data = self._settings.data
        schema = self._add(ImportSchemaGen(schema_file=SCHEMA_FILE).with_id("SchemaGen"))
        anomalies = self._add(
            ExampleValidator(statistics=self.statistics.outputs["statistics"], schema=schema.outputs["schema"])
        )
        side, needed_by = validation.smallest_side(self._settings)
        self.images = self._add(
            ImageValidator(
                examples=self._examples(),
                anomalies=anomalies.outputs["anomalies"],
                image_size=data.image_size,
                resize=data.resize,
                background=data.background,
                channels=data.channels,
                smallest_side=side,
                needed_by=needed_by,
            )
        )

    def choose_baseline(self, baseline: str) -> None:
        """Selects the earlier model with which the new model is compared.

        Args:
            baseline: As in `create_pipeline`.
        """
        self.baseline = None
        if baseline == LATEST_BLESSED:
            self.baseline = resolver.Resolver(
                strategy_class=LatestComparableModel,
                config={
                    name: getattr(self._settings.data, name)
                    for name in ("image_size", "channels", "resize", "background")
                },
                examples=self._examples(),
                model=channel.Channel(type=standard_artifacts.Model),
                model_blessing=channel.Channel(type=standard_artifacts.ModelBlessing),
            ).with_id("LatestBlessedModel")
        elif baseline:
            self.baseline = importer.Importer(
                source_uri=baseline, artifact_type=standard_artifacts.Model, output_key="model"
            ).with_id("BaselineModel")
        if self.baseline:
            self.baseline.add_upstream_node(self.images)  # it relies on the checks of ImageValidator
            self._add(self.baseline)

    def teach(self, checkpoint_dir: str) -> None:
        """Computes the soft labels of the teacher, if there is one; before the plan, which counts their seconds."""
        self.soft_labels = None
        if self._settings.train.teacher:
            teacher = Teacher(
                examples=self._examples(),
                image_report=self.images.outputs["image_report"],
                baselines=self._settings.baselines,
                data=self._settings.data,
                deterministic=self._settings.deterministic,
                tuned_kernels=self._settings.tuned_kernels,
                checkpoint_dir=os.path.join(checkpoint_dir, "teacher"),
            )
            self.soft_labels = self._add(teacher).outputs["soft_labels"]

    def measure_latency(self, checkpoint_dir: str) -> None:
        """Measures or checks the latency table, if there is one; before the plan, which counts the seconds."""
        self.latency_table = None
        derive = self._settings.derive
        if derive.latency_table and not self._settings.architecture:
            given = device = None
            if not derive.measures_latency:
                table = latency_table.LatencyTable.load(derive.latency_table, "config.derive.latency_table")
                given = table.model_dump_json()
            elif self._local:
                device = json.dumps(runtimes.device(), sort_keys=True)
            component = LatencyTable(
                examples=self._examples(),
                image_report=self.images.outputs["image_report"],
                space=self._settings.space,
                derive=derive,
                training=self._training_parameter(checkpoint_dir),
                given=given,
                device=device,
                checkpoint_dir=os.path.join(checkpoint_dir, "latency"),
            )
            self.latency_table = self._add(component).outputs["latency_table"]

    def plan(self) -> None:
        """Plans search and training, if the run has a budget."""
        self.planned = None
        if self._settings.budget.minutes:
            planner = SearchPlanner(
                self._examples(),
                self.images.outputs["image_report"],
                self.soft_labels,
                self.latency_table,
                settings=self._settings,
            )
            self.planned = self._add(planner).outputs["plan"]

    def correct_plan(self) -> None:
        """Corrects the plan, if there is one, by what the search took and by the derived network."""
        self.hyperparameters = self.architecture.outputs["hyperparameters"]
        if self.planned:
            planner = self._add(
                TrainingPlanner(
                    self._examples(),
                    self.planned,
                    self.hyperparameters,
                    self.learned.get("distribution"),
                    settings=self._settings,
                )
            )
            self.planned, self.hyperparameters = (planner.outputs[name] for name in ("plan", "hyperparameters"))

    def find_architecture(self, checkpoint_dir: str) -> None:
        """Searches and derives an architecture, or imports the one that the config names."""
        image_report = self.images.outputs["image_report"]
        self.learned, self.inherited = {}, None
        if self._settings.architecture:
            source, uri = None, artifact_of(self._settings.architecture)
            if uri and self._local:  # other machines do not have the folder
                source = self._add(
                    importer.Importer(source_uri=uri, artifact_type=artifacts.Genotype, output_key="genotype").with_id(
                        "SourceGenotype"
                    )
                ).outputs["genotype"]
            self.architecture = first = self._add(
                ArchitectureImporter(image_report, source, architecture=self._settings.architecture)
            )
        else:
            search = first = self._add(
                SupernetSearch(
                    examples=self._examples(),
                    image_report=image_report,
                    plan=self.planned,
                    **{name: getattr(self._settings, name) for name in ("space", "search", "oracle", "train", "data")},
                    checkpoint_dir=os.path.join(checkpoint_dir, "search"),
                    **self._common,
                )
            )
            self.architecture = self._add(
                ArchitectureDeriver(
                    distribution=search.outputs["distribution"],
                    space=self._settings.space,
                    derive=self._settings.derive,
                    **(self._costed(checkpoint_dir) if self._settings.derive.needs_costs else {}),
                )
            )
            self.learned = {name: search.outputs[name] for name in ("distribution", "results")}
            if self._settings.train.from_supernet:
                self.inherited = search.outputs["supernet"]
        if self.baseline:  # selected before the search, so that a warning about it appears early
            first.add_upstream_node(self.baseline)

    def train(self, checkpoint_dir: str) -> None:
        """Trains the network of the architecture on the splits train and val."""
        self.trainer = self._add(
            Trainer(
                examples=self._examples(),
                hyperparameters=self.hyperparameters,
                soft_labels=self.soft_labels,
                supernet=self.inherited,
                custom_config=self._training(checkpoint_dir),
            )
        )

    def evaluate(self) -> None:
        """Tests the model, and blesses it if it meets the conditions of `config.evaluate`."""
        self.evaluator = self._add(
            Evaluator(
                examples=self._examples(),
                model=self._model(),
                baseline_model=self.baseline.outputs["model"] if self.baseline else None,
                example_splits=["test"],
                eval_config=evaluation(self._settings.evaluate),
            )
        )

    def deploy(self, serving_dir: str) -> None:
        """Pushes a blessed model. `config.deploy` can add a test in TF Serving and the classification of a split."""
        deploy, blessing = self._settings.deploy, self.evaluator.outputs["blessing"]
        infra_blessing = None
        if deploy.infra_validation:
            infra_blessing = self._add(_infra_validator(deploy, self._model(), self._examples())).outputs["blessing"]
        if deploy.bulk_inference:
            self._add(
                BulkInferrer(
                    examples=self._examples(),
                    model=self._model(),
                    model_blessing=blessing,
                    data_spec=bulk_inferrer_pb2.DataSpec(example_splits=[deploy.bulk_inference]),
                    model_spec=bulk_inferrer_pb2.ModelSpec(model_signature_name=["serve_examples"]),
                )
            )
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=serving_dir)
        self.pusher = self._add(
            Pusher(
                model=self._model(),
                model_blessing=blessing,
                infra_blessing=infra_blessing,
                push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
            )
        )

    def export(self) -> None:
        """Converts the model to the formats of `config.export`, if there are any."""
        self.exported = {}
        if self._settings.export.formats:
            exporter = self._add(
                Exporter(
                    examples=self._examples(),
                    model=self._model(),
                    export=self._settings.export,
                    data=self._settings.data,
                    seed=self._settings.seed,
                )
            )
            exporter.add_upstream_node(self.pusher)  # nobody has to wait for the conversion to use the model
            self.exported = {"exports": exporter.outputs["exports"]}

    def compare(self, checkpoint_dir: str) -> None:
        """Compares the model with the baselines of `config.baselines`, if there are any."""
        self.compared = {}
        if self._settings.baselines.compared(self._settings.train.teacher):
            baselines = self._add(
                Baselines(
                    examples=self._examples(),
                    model=self._model(),
                    model_run=self.trainer.outputs["model_run"],
                    distribution=self.learned.get("distribution"),
                    soft_labels=self.soft_labels,
                    baselines=self._settings.baselines,
                    checkpoint_dir=os.path.join(checkpoint_dir, "baselines"),
                )
            )
            baselines.add_upstream_node(self.pusher)  # nobody has to wait for them to use the model
            self.compared = {"baselines": baselines.outputs["comparison"]}

    def report(self) -> None:
        """Writes the report of the run."""
        self._add(
            ReportGen(
                examples=self._examples(),
                image_report=self.images.outputs["image_report"],
                genotype=self.architecture.outputs["genotype"],
                model=self._model(),
                model_run=self.trainer.outputs["model_run"],
                evaluation=self.evaluator.outputs["evaluation"],
                blessing=self.evaluator.outputs["blessing"],
                pushed_model=self.pusher.outputs["pushed_model"],
                **self.learned,
                plan=self.planned,
                **self.compared,
                **self.exported,
                settings=self._settings,
                training=self.trainer.exec_properties["custom_config"],
            )
        )

    def _training(self, checkpoint_dir: str) -> dict[str, Any]:
        """Returns what the Trainer hands to the training."""
        return {
            **self._settings.model_dump(mode="json", include={"train", "data", "space", "serving"}),
            **self._common,
            "checkpoint_dir": os.path.join(checkpoint_dir, "train"),
        }

    def _costed(self, checkpoint_dir: str) -> dict[str, Any]:
        """Returns what the deriver needs to know the costs of networks."""
        return {
            "examples": self._examples(),
            "latency_table": self.latency_table,
            "training": self._training_parameter(checkpoint_dir),
        }

    def _training_parameter(self, checkpoint_dir: str) -> str:
        """Returns the same text as the Trainer's parameter: a compiled pipeline has one parameter for all of them."""
        return json_utils.dumps(self._training(checkpoint_dir))

    def _add(self, component: Any) -> Any:
        self.components.append(component)
        return component

    def _examples(self) -> channel.BaseChannel:
        return self.examples.outputs["examples"]

    def _model(self) -> channel.BaseChannel:
        return self.trainer.outputs["model"]


def _infra_validator(deploy: Deploy, model: channel.BaseChannel, examples: channel.BaseChannel) -> InfraValidator:
    return InfraValidator(
        model=model,
        examples=examples,
        serving_spec=_serving_spec(deploy),
        request_spec=infra_validator_pb2.RequestSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(signature_names=["serve_examples"]),
            split_name="test",
            num_examples=10,
        ),
    )


def _serving_spec(deploy: Deploy) -> infra_validator_pb2.ServingSpec:
    """Returns the version of TF Serving that the InfraValidator starts, and where it starts TF Serving."""
    spec = infra_validator_pb2.ServingSpec(
        tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[deploy.tensorflow_serving_tag])
    )
    if deploy.infra_validation == "docker":
        spec.local_docker.SetInParent()
    else:
        spec.kubernetes.SetInParent()
    return spec


def evaluation(evaluate: Evaluate) -> tfma.EvalConfig:
    """Returns the metrics of the Evaluator, over all of `test` and per class, and the conditions for a blessing.

    Args:
        evaluate: `config.evaluate`. If its accuracy threshold is None, the Evaluator's executor sets the threshold.
    """
    least = evaluate.accuracy_threshold
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound=None if least is None else {"value": least}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -evaluate.max_accuracy_drop - 1e-9},  # an equal model passes
        ),
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(signature_name="serve_examples", label_key="label", prediction_key="probabilities")
        ],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=["label"])],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name="SparseCategoricalAccuracy",
                        # The empty slice is the whole split; without it every class would have to reach the threshold.
                        per_slice_thresholds=[
                            tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)
                        ],
                    ),
                    tfma.MetricConfig(class_name="SparseCategoricalCrossentropy"),
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
                ]
            )
        ],
    )
