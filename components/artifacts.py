"""Artifact types of the pipeline, beside TFX's own.

Each is registered under the name `components.<Class>` and can be imported under it, as the Kubeflow compiler requires.
An artifact's properties are custom properties: the same compiler refuses a type that declares properties.
"""

from tfx.types import artifact


class Distribution(artifact.Artifact):
    """A search's outcome: probabilities per edge, epochs, accuracies and the history (JSON)."""

    TYPE_NAME = "components.Distribution"


class SupernetWeights(artifact.Artifact):
    """The weights that all sub-networks of the search shared, as they were at its end."""

    TYPE_NAME = "components.SupernetWeights"


class TunerResults(artifact.Artifact):
    """KerasTuner's account of the search: one trial per sampled architecture."""

    TYPE_NAME = "components.TunerResults"


class SearchLogs(artifact.Artifact):
    """TensorBoard logs of the search."""

    TYPE_NAME = "components.SearchLogs"


class Genotype(artifact.Artifact):
    """A derived, imported or published architecture (JSON)."""

    TYPE_NAME = "components.Genotype"


class ImageReport(artifact.Artifact):
    """What the look at every image found: counts, problems, warnings (JSON)."""

    TYPE_NAME = "components.ImageReport"


class Report(artifact.Artifact):
    """What a person looks at after a run (HTML)."""

    TYPE_NAME = "components.Report"
