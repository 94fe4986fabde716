"""Runs the pipeline with Apache Beam. Flags and results are the same as with pipeline.local_runner.

    python -m pipeline.beam_runner --config=pipeline/configs/digits.py --root=runs/digits

With this runner, Beam also orders the components. With both runners, some components use Beam for their own work
(reading, statistics, checks of the images, evaluation), and --beam_pipeline_args sets the options of Beam for this
work. docs/deploy.md has the options for several workers, Flink, Spark and Dataflow.
"""

from absl import flags

from pipeline import launch

flags.adopt_module_key_flags(launch)


def _runner():
    from tfx.orchestration.beam import beam_dag_runner

    return beam_dag_runner.BeamDagRunner()


if __name__ == "__main__":
    launch.main(_runner)
