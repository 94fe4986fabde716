"""The Evaluator component: TFX's, with an executor of our own."""

from tfx.components.evaluator import component
from tfx.dsl.components.base import executor_spec

from components.evaluator import executor


class Evaluator(component.Evaluator):
    """Tests the model and blesses it, as TFX's Evaluator does, with three differences.

    An accuracy threshold without a value is set once the classes' test images are counted. A baseline that the model
    cannot be compared with is left out. What the accuracy is to be compared with is written beside the evaluation, for
    summary and report (components/comparison.py).
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
