"""Runs the pipeline on this machine, one component after the other.

python -m pipeline.local_runner --config=pipeline/configs/digits.py --root=runs/digits --config.search.epochs=5
"""

from absl import flags

from pipeline import launch

flags.adopt_module_key_flags(launch)


def _runner():
    from tfx.orchestration.local import local_dag_runner

    return local_dag_runner.LocalDagRunner()


if __name__ == "__main__":
    launch.main(_runner)
