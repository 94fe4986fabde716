"""The pipeline as a pure function of its arguments. A runner only defines where the pipeline runs.

    TfdsExampleGen -> StatisticsGen -> SchemaGen -> ExampleValidator -> ImageValidator
      -> SupernetSearch -> ArchitectureDeriver  (or, with a known architecture, ArchitectureImporter)
      -> Trainer -> Evaluator -> Pusher -> Exporter -> Baselines -> ReportGen

LatestBlessedModel selects the baseline. It runs before the search, so that a warning about the baseline appears early.

`config.train.teacher` adds a Teacher before the search: docs/baselines.md.
`config.derive.latency_table` adds a LatencyTable before the search: docs/latency.md.
`config.budget` adds a SearchPlanner before the search and a TrainingPlanner before the training: docs/budget.md.
Exporter is left out if `config.export` names no format, and Baselines if `config.baselines` names none.
`config.deploy` adds an InfraValidator before the Pusher and a BulkInferrer after the Evaluator.
"""

import ml_collections
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import pipeline

from models.settings import Settings
from pipeline.ingested import Ingested
from pipeline.stages import LATEST_BLESSED, Stages


def create_pipeline(
    config: ml_collections.ConfigDict,
    *,
    pipeline_root: str,
    serving_dir: str,
    checkpoint_dir: str,
    pipeline_name: str = "",
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    beam_pipeline_args: list[str] | None = None,
    enable_cache: bool = True,
    baseline: str = LATEST_BLESSED,
    ingested: Ingested | None = None,
) -> pipeline.Pipeline:
    """Returns the pipeline that a config describes.

    Args:
        config: A config with the structure of pipeline/configs/base.py.
        pipeline_root: The folder of the artifacts: a path or a URI (gs://, s3://).
        serving_dir: The folder to which a blessed model is pushed, as a numbered version that TF Serving finds.
        checkpoint_dir: The folder of the checkpoints of teacher, search, final training and baselines.
        pipeline_name: The pipeline's name in ML Metadata; "" for `config.name`.
        metadata_connection_config: ML Metadata's store; None on Kubeflow, which has its own.
        beam_pipeline_args: Beam options of TfdsExampleGen, StatisticsGen, ImageValidator, Evaluator and BulkInferrer.
        enable_cache: Whether a component with unchanged inputs and settings reuses its results from an earlier run.
        baseline: The earlier model with which the new model is compared: LATEST_BLESSED, found in ML Metadata; the URI
            of a Model artifact of an earlier run; or "" for none: then only the accuracy threshold counts.
        ingested: The examples of another root, which the pipeline uses instead of reading the images; None for none.

    Returns:
        The pipeline.

    Raises:
        ConfigError: A setting is unknown or out of bounds; the message names it.
        DataError: The images cannot be used.
    """
    stages = Stages(Settings.parse(config), local=metadata_connection_config is not None)
    if ingested:
        stages.adopt(ingested)
    else:
        stages.ingest()
        stages.validate()
    stages.choose_baseline(baseline)
    stages.teach(checkpoint_dir)
    stages.measure_latency(checkpoint_dir)
    stages.plan()
    stages.find_architecture(checkpoint_dir)
    stages.correct_plan()
    stages.train(checkpoint_dir)
    stages.evaluate()
    stages.deploy(serving_dir)
    stages.export()
    stages.compare(checkpoint_dir)
    stages.report()
    return pipeline.Pipeline(
        pipeline_name=pipeline_name or config.name,
        pipeline_root=pipeline_root,
        components=stages.components,
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args,
    )
