"""Flink and Spark clusters on this machine, to try and to test what runs on larger ones: docs/engines.md."""


class EngineError(Exception):
    """A cluster cannot be started or stopped. The message is one line that says what to do."""
