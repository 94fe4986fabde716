"""The pipeline, a pure function of its arguments; each runner only says where it runs.

    TfdsExampleGen -> StatisticsGen -> SchemaGen -> ExampleValidator -> ImageValidator
      -> SupernetSearch -> ArchitectureDeriver  (or, with a known architecture, ArchitectureImporter)
      -> Trainer -> Evaluator -> Pusher
"""

import os
from typing import Any

import ml_collections
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2
from tfx.components import Evaluator, ExampleValidator, Pusher, SchemaGen, StatisticsGen, Trainer
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy
from tfx.orchestration import pipeline
from tfx.proto import pusher_pb2, trainer_pb2
from tfx.types import channel, standard_artifacts

from components.architecture_deriver.component import ArchitectureDeriver
from components.architecture_importer.component import ArchitectureImporter
from components.image_validator.component import ImageValidator
from components.supernet_search.component import SupernetSearch
from components.tfds_example_gen.component import TfdsExampleGen


def create_pipeline(
    config: ml_collections.ConfigDict,
    *,
    pipeline_root: str,
    serving_dir: str,
    checkpoint_dir: str,
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    beam_pipeline_args: list[str] | None = None,
    enable_cache: bool = True,
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

    Returns:
        The pipeline.

    Raises:
        ValueError: A setting is not possible; the message names it.
    """
    settings = config.to_dict()
    common = {name: settings[name] for name in ("seed", "deterministic", "tuned_kernels")}

    examples = TfdsExampleGen(
        name=config.data.name,
        version=config.data.version,
        data_dir=config.data.data_dir,
        download=config.data.download,
        image_folder=config.data.image_folder,
        val_fraction=config.data.val_fraction,
        seed=config.seed,
        max_corrupt_share=config.data.max_corrupt_share,
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    schema = SchemaGen(statistics=statistics.outputs["statistics"])
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    images = ImageValidator(
        examples=examples.outputs["examples"],
        anomalies=anomalies.outputs["anomalies"],
        image_size=config.data.image_size,
        max_corrupt_share=config.data.max_corrupt_share,
    )
    components = [examples, statistics, schema, anomalies, images]

    if config.architecture:
        source = ArchitectureImporter(
            image_report=images.outputs["image_report"], architecture=config.architecture
        )
        components.append(source)
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
        components += [search, source]

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
    baseline = resolver.Resolver(
        strategy_class=latest_blessed_model_strategy.LatestBlessedModelStrategy,
        model=channel.Channel(type=standard_artifacts.Model),
        model_blessing=channel.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("LatestBlessedModel")
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        example_splits=["test"],
        eval_config=evaluation(settings["evaluate"]),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_dir)
        ),
    )
    return pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=[*components, trainer, baseline, evaluator, pusher],
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args,
    )


def evaluation(evaluate: dict[str, Any]) -> tfma.EvalConfig:
    """Returns what the Evaluator measures, over all of `test` and per class, and what a model must reach.

    Args:
        evaluate: `config.evaluate`: the accuracy a model must have, and by how much it may fall short of the latest
            blessed one.
    """
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": evaluate["accuracy_threshold"]}),
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
                ]
            )
        ],
    )
