"""The pipeline, a pure function of its arguments; each runner only says where it runs.

    TfdsExampleGen -> StatisticsGen -> SchemaGen -> ExampleValidator -> ImageValidator
      -> SupernetSearch -> ArchitectureDeriver  (or, with a known architecture, ArchitectureImporter)
      -> Trainer -> Evaluator -> Pusher -> ReportGen

LatestBlessedModel comes before the search, so that it is known by then what the new model will be compared with.

`config.deploy` adds an InfraValidator before the Pusher and a BulkInferrer after the Evaluator.
"""

import os
from typing import Any

import ml_collections
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2
from tfx.components import (
    BulkInferrer,
    ExampleValidator,
    InfraValidator,
    StatisticsGen,
    Trainer,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import importer, resolver
from tfx.orchestration import pipeline
from tfx.proto import bulk_inferrer_pb2, infra_validator_pb2, pusher_pb2, trainer_pb2
from tfx.types import channel, standard_artifacts

from components.architecture_deriver.component import ArchitectureDeriver
from components.architecture_importer.component import ArchitectureImporter
from components.baseline import LatestComparableModel
from components.evaluator.component import Evaluator
from components.image_validator.component import SCHEMA_FILE, ImageValidator
from components.pusher.component import Pusher
from components.report_gen.component import ReportGen
from components.supernet_search.component import SupernetSearch
from components.tfds_example_gen.component import TfdsExampleGen
from pipeline import validation
from pipeline.configs import base

LATEST_BLESSED = "latest blessed"


def create_pipeline(
    config: ml_collections.ConfigDict,
    *,
    pipeline_root: str,
    serving_dir: str,
    checkpoint_dir: str,
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    beam_pipeline_args: list[str] | None = None,
    enable_cache: bool = True,
    baseline: str = LATEST_BLESSED,
) -> pipeline.Pipeline:
    """Returns the pipeline that a config describes.

    Args:
        config: As pipeline/configs/base.py lays it out.
        pipeline_root: Where artifacts go; a path or a URI (gs://, s3://).
        serving_dir: Where a blessed model is pushed to, as a numbered version that TF Serving finds.
        checkpoint_dir: Where the search and the final training keep their checkpoints.
        metadata_connection_config: ML Metadata's store; None on Kubeflow, which has its own.
        beam_pipeline_args: Beam options of ExampleGen, StatisticsGen, ImageValidator and Evaluator.
        enable_cache: Whether a component whose inputs and settings are unchanged is taken from an earlier run.
        baseline: The model that a new one must not fall behind: LATEST_BLESSED, which ML Metadata knows; the URI of a
            Model artifact of an earlier run; or "" for none, only the accuracy threshold.

    Returns:
        The pipeline.

    Raises:
        ValueError: A setting is not possible; the message names it.
    """
    settings = config.to_dict()
    common = {name: settings[name] for name in ("seed", "deterministic", "tuned_kernels")}

    # The one other thing of config.data, cache_mb, is for those who read the examples.
    examples = TfdsExampleGen(
        seed=config.seed, **{name: value for name, value in settings["data"].items() if name != "cache_mb"}
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    schema = ImportSchemaGen(schema_file=SCHEMA_FILE).with_id("SchemaGen")
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    side, needed_by = validation.smallest_side(config)
    images = ImageValidator(
        examples=examples.outputs["examples"],
        anomalies=anomalies.outputs["anomalies"],
        image_size=config.data.image_size,
        resize=config.data.resize,
        background=config.data.background,
        channels=config.data.channels,
        smallest_side=side,
        needed_by=needed_by,
    )
    components = [examples, statistics, schema, anomalies, images]
    learned = {}

    if config.architecture:
        source = ArchitectureImporter(image_report=images.outputs["image_report"], architecture=config.architecture)
        architecture = [source]
    else:
        search = SupernetSearch(
            examples=examples.outputs["examples"],
            image_report=images.outputs["image_report"],
            space=settings["space"],
            search=settings["search"],
            oracle=settings["oracle"],
            data=settings["data"],
            epochs=config.search.epochs,
            checkpoint_dir=os.path.join(checkpoint_dir, "search"),
            **common,
        )
        source = ArchitectureDeriver(
            distribution=search.outputs["distribution"],
            supernet=search.outputs["supernet"],
            examples=examples.outputs["examples"],
            space=settings["space"],
            search=settings["search"],
            data=settings["data"],
            derive=settings["derive"],
            **common,
        )
        architecture = [search, source]
        learned = {name: search.outputs[name] for name in ("distribution", "results")}

    baseline_node = _baseline(baseline, examples.outputs["examples"], config.data)
    if baseline_node:
        baseline_node.add_upstream_node(images)  # it counts on what the ImageValidator found right
        architecture[0].add_upstream_node(baseline_node)
        components.append(baseline_node)
    components += architecture
    trainer = Trainer(
        run_fn="models.trainer.run_fn",
        examples=examples.outputs["examples"],
        hyperparameters=source.outputs["hyperparameters"],
        train_args=trainer_pb2.TrainArgs(splits=["train", "val"]),
        eval_args=trainer_pb2.EvalArgs(splits=["test"]),
        custom_config={
            **{name: settings[name] for name in ("train", "data", "space", "serving")},
            **common,
            "checkpoint_dir": os.path.join(checkpoint_dir, "train"),
        },
    )
    components.append(trainer)
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline_node.outputs["model"] if baseline_node else None,
        example_splits=["test"],
        eval_config=evaluation(settings["evaluate"]),
    )
    components.append(evaluator)
    infra_blessing = None
    if config.deploy.infra_validation:
        infra_validator = InfraValidator(
            model=trainer.outputs["model"],
            examples=examples.outputs["examples"],
            serving_spec=_serving_spec(config.deploy),
            request_spec=infra_validator_pb2.RequestSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(signature_names=["serve_examples"]),
                split_name="test",
                num_examples=10,
            ),
        )
        infra_blessing = infra_validator.outputs["blessing"]
        components.append(infra_validator)
    if config.deploy.bulk_inference:
        components.append(
            BulkInferrer(
                examples=examples.outputs["examples"],
                model=trainer.outputs["model"],
                model_blessing=evaluator.outputs["blessing"],
                data_spec=bulk_inferrer_pb2.DataSpec(example_splits=[config.deploy.bulk_inference]),
                model_spec=bulk_inferrer_pb2.ModelSpec(model_signature_name=["serve_examples"]),
            )
        )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_blessing,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_dir)
        ),
    )
    components.append(pusher)
    report = ReportGen(
        examples=examples.outputs["examples"],
        image_report=images.outputs["image_report"],
        genotype=source.outputs["genotype"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        **learned,
        config=settings,
        defaults=base.get_config().to_dict(),
        training=trainer.exec_properties["custom_config"],
    )
    components.append(report)
    return pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=components,
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args,
    )


def _baseline(
    baseline: str, examples: channel.BaseChannel, data: ml_collections.ConfigDict
) -> base_node.BaseNode | None:
    if not baseline:
        return None
    if baseline == LATEST_BLESSED:
        return resolver.Resolver(
            strategy_class=LatestComparableModel,
            config={name: data[name] for name in ("image_size", "channels", "resize", "background")},
            examples=examples,
            model=channel.Channel(type=standard_artifacts.Model),
            model_blessing=channel.Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("LatestBlessedModel")
    return importer.Importer(source_uri=baseline, artifact_type=standard_artifacts.Model, output_key="model").with_id(
        "BaselineModel"
    )


def _serving_spec(deploy: ml_collections.ConfigDict) -> infra_validator_pb2.ServingSpec:
    """Returns which TF Serving the InfraValidator loads the model into, and where that runs."""
    spec = infra_validator_pb2.ServingSpec(
        tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[deploy.tensorflow_serving_tag])
    )
    if deploy.infra_validation == "docker":
        spec.local_docker.SetInParent()
    else:
        spec.kubernetes.SetInParent()
    return spec


def evaluation(evaluate: dict[str, Any]) -> tfma.EvalConfig:
    """Returns what the Evaluator measures, over all of `test` and per class, and what a model must reach.

    Args:
        evaluate: `config.evaluate`: the accuracy a model must have, where None leaves it to the Evaluator, and by how
            much it may fall short of the latest blessed one.
    """
    least = evaluate["accuracy_threshold"]
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound=None if least is None else {"value": least}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -evaluate["max_accuracy_drop"] - 1e-9},  # an equal model passes
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
