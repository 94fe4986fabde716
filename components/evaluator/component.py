"""The Evaluator component: TFX's Evaluator with a custom executor."""

from tfx.components.evaluator import component
from tfx.dsl.components.base import executor_spec

from components.evaluator import executor


class Evaluator(component.Evaluator):
    """Tests the model and blesses it, as TFX's Evaluator does, with three differences.

    If the accuracy threshold has no value, the executor computes it from the numbers of test images per class. If the
    model cannot be compared with the baseline, the executor leaves the baseline out. For summary and report, it writes
    the accuracies of chance, of the largest class and of the baseline beside the evaluation (components/comparison.py).
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
