"""TFX components. The artifact types can be imported from this package under their registered names."""

_ARTIFACTS = (
    "Baselines",
    "Distribution",
    "Exports",
    "Genotype",
    "ImageReport",
    "LatencyTable",
    "Plan",
    "Report",
    "SearchLogs",
    "SoftLabels",
    "SupernetWeights",
    "TunerResults",
)


def __getattr__(name):
    # The import is lazy: a module of this package that does not need TFX does not import it.
    if name in _ARTIFACTS:
        from components import artifacts

        return getattr(artifacts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
