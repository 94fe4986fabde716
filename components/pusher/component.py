"""The Pusher component: TFX's, with an executor of our own."""

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.pusher import executor


class Pusher(component.Pusher):
    """Pushes a blessed model as a numbered version, as TFX's Pusher does, with three differences.

    A version is there whole or not at all. The model that was pushed last is not pushed again. A new version gets a
    number above all others that are there, whoever put them there: TF Serving serves the highest.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
