"""TFX components. Artifact types can be imported from here, by their registered names."""

_ARTIFACTS = (
    "Distribution",
    "Genotype",
    "ImageReport",
    "Report",
    "SearchLogs",
    "SupernetWeights",
    "TunerResults",
)


def __getattr__(name):
    # Lazy, so that a module of this package which needs no TFX does not import it.
    if name in _ARTIFACTS:
        from components import artifacts

        return getattr(artifacts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
