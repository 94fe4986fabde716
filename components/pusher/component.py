"""The Pusher component: TFX's, with an executor of our own."""

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.pusher import executor


class Pusher(component.Pusher):
    """Pushes a blessed model as a numbered version, as TFX's Pusher does, with three differences.

    A version is complete or absent. The model that was pushed last is not pushed again. A new version gets a
    number above all versions in the folder, also those of other writers: TF Serving serves the highest.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
