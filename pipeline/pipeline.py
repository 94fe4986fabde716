"""The pipeline, a pure function of its arguments; each runner only says where it runs.

    TfdsExampleGen -> StatisticsGen -> SchemaGen -> ExampleValidator -> ImageValidator
      -> SupernetSearch -> ArchitectureDeriver  (or, with a known architecture, ArchitectureImporter)
      -> Trainer -> Evaluator -> Pusher -> Baselines -> ReportGen

LatestBlessedModel comes before the search, so that it is known by then what the new model will be compared with.

Baselines is left out if `config.baselines` names none. `config.deploy` adds an InfraValidator before the Pusher and a
BulkInferrer after the Evaluator.
"""

import ml_collections
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import pipeline

from models.settings import Settings
from pipeline.stages import LATEST_BLESSED, Stages


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
        checkpoint_dir: Where the search, the final training and the baselines keep their checkpoints.
        metadata_connection_config: ML Metadata's store; None on Kubeflow, which has its own.
        beam_pipeline_args: Beam options of ExampleGen, StatisticsGen, ImageValidator and Evaluator.
        enable_cache: Whether a component whose inputs and settings are unchanged is taken from an earlier run.
        baseline: The model that a new one must not fall behind: LATEST_BLESSED, which ML Metadata knows; the URI of a
            Model artifact of an earlier run; or "" for none, only the accuracy threshold.

    Returns:
        The pipeline.

    Raises:
        ConfigError: A setting is not possible; the message names it.
        DataError: The images cannot be used.
    """
    stages = Stages(Settings.parse(config))
    stages.ingest()
    stages.validate()
    stages.choose_baseline(baseline)
    stages.find_architecture(checkpoint_dir)
    stages.train(checkpoint_dir)
    stages.evaluate()
    stages.deploy(serving_dir)
    stages.compare(checkpoint_dir)
    stages.report()
    return pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=stages.components,
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args,
    )
