"""Runs the pipeline under Apache Beam; the same flags and the same results as pipeline.local_runner.

    python -m pipeline.beam_runner --config=pipeline/configs/digits.py --root=runs/digits

Beam then also orders the components. What they do with Beam (reading, statistics, validation, evaluation) is set by
--beam_pipeline_args under either runner; docs/deploy.md has the options for several workers, Flink, Spark and Dataflow.
"""

from absl import flags

from pipeline import command_line, launch

flags.adopt_module_key_flags(command_line)


def _runner():
    from tfx.orchestration.beam import beam_dag_runner

    return beam_dag_runner.BeamDagRunner()


if __name__ == "__main__":
    launch.main(_runner)
