"""The Pusher component: TFX's Pusher with a custom executor."""

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.pusher import executor


class Pusher(component.Pusher):
    """Pushes a blessed model as a numbered version, as TFX's Pusher does, with three differences.

    A version is complete or absent. The model that was pushed last is not pushed again. The number of a new version is
    above the numbers of all versions in the folder, also of those that other programs wrote: TF Serving serves the
    version with the highest number.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
