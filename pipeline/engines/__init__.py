"""Flink and Spark clusters on this machine, as trial and test of what runs on real ones: docs/engines.md."""


class EngineError(Exception):
    """A cluster cannot be started or stopped. The message is one line that says what to do."""
