"""The artifact types that the pipeline adds to those of TFX.

A type is registered under the name `components.<Class>` and can be imported under this name, as the Kubeflow compiler
requires. All properties are custom properties, because this compiler refuses a type that declares properties.
"""

from tfx.types import artifact


class Distribution(artifact.Artifact):
    """The result of a search: probabilities, epochs and accuracies of each choice, and the history (JSON)."""

    TYPE_NAME = "components.Distribution"


class SupernetWeights(artifact.Artifact):
    """The shared weights at the end of a search that trains a supernet; a search by scores writes no weights.

    With `config.train.from_supernet`, the weights are also written by their position, for the final network.
    """

    TYPE_NAME = "components.SupernetWeights"


class TunerResults(artifact.Artifact):
    """KerasTuner's record of the search: one trial per sampled architecture."""

    TYPE_NAME = "components.TunerResults"


class SearchLogs(artifact.Artifact):
    """TensorBoard logs of the search."""

    TYPE_NAME = "components.SearchLogs"


class LatencyTable(artifact.Artifact):
    """The latency of the operations of a space on a device (JSON)."""

    TYPE_NAME = "components.LatencyTable"


class Genotype(artifact.Artifact):
    """A derived, imported or published architecture (JSON)."""

    TYPE_NAME = "components.Genotype"


class ImageReport(artifact.Artifact):
    """The findings of ImageValidator in the images: counts, problems, warnings (JSON)."""

    TYPE_NAME = "components.ImageReport"


class SoftLabels(artifact.Artifact):
    """A teacher's logits for the training images, and the features from which they were computed."""

    TYPE_NAME = "components.SoftLabels"


class Plan(artifact.Artifact):
    """The plan of a run with a budget (JSON): chosen settings, reasons, seconds of each stage, measured figures."""

    TYPE_NAME = "components.Plan"


class Baselines(artifact.Artifact):
    """The final network beside simple ones on the test images: figures (JSON), predictions, pretrained features."""

    TYPE_NAME = "components.Baselines"


class Exports(artifact.Artifact):
    """The trained model in other formats, and the figures of their verification (JSON)."""

    TYPE_NAME = "components.Exports"


class Report(artifact.Artifact):
    """The report of a run, for a person (HTML)."""

    TYPE_NAME = "components.Report"
