"""The examples of another root, which a run uses instead of reading the images again.

Both roots must have their records in one store of ML Metadata. The artifacts are imported, and TFX's importer finds
their records in this store. So the lineage of the run's model leads to the component that read the images.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.common import importer
from tfx.types import standard_artifacts

from components import artifacts
from pipeline.metadata_store import Store
from pipeline.root_records import Identity
from pipeline.roots import UsageError
from pipeline.run_record import Run, custom_property


@dataclasses.dataclass(frozen=True)
class Ingested:
    """Examples, and the ImageValidator's report on them.

    Attributes:
        root: The root that has read the images.
        examples: URI of the artifact with the examples.
        image_report: URI of the artifact with the report.
        parameters: The parameters with which TfdsExampleGen made the examples.
    """

    root: str
    examples: str
    image_report: str
    parameters: Mapping[str, Any]

    @classmethod
    def find(cls, root: str, store: Store, name: str) -> "Ingested":
        """Returns the examples of the newest run in a root.

        Args:
            root: Absolute path of the other root.
            store: The store that records this root, too.
            name: `config.name` of its pipeline.

        Raises:
            UsageError: The store knows no such examples.
        """
        identity = Identity.read(root)
        refusal = UsageError(
            f"--examples_from={root}: {store.address} knows no examples that were checked by the ImageValidator. Run "
            f"the pipeline {name!r} in this root first, with the same --metadata."
        )
        if identity is None or not store.shared:
            raise refusal
        try:
            run = Run(store.open(), identity.pipeline_name(name))
        except LookupError:
            raise refusal from None
        if "ImageValidator" not in run.executions or "TfdsExampleGen" not in run.executions:
            raise refusal
        execution = run.executions["TfdsExampleGen"]
        return cls(
            root,
            run.outputs("TfdsExampleGen")["examples"].uri,
            run.outputs("ImageValidator")["image_report"].uri,
            {key: custom_property(execution, key) for key in execution.custom_properties},
        )

    def require(self, parameters: Mapping[str, Any]) -> None:
        """Refuses examples that differ from those which the run itself would make.

        Args:
            parameters: The parameters of the TfdsExampleGen that the run would have.

        Raises:
            UsageError: A parameter is different.
        """
        differ = [key for key, value in parameters.items() if self.parameters.get(key, value) != value]
        if differ or not set(parameters) & set(self.parameters):
            raise UsageError(
                f"--examples_from={self.root}: its examples were made with another {', '.join(differ) or 'component'}. "
                "Use the same settings config.data and unchanged images, or leave out the flag."
            )

    def importers(self) -> tuple[importer.Importer, importer.Importer]:
        """Returns the nodes that take the place of TfdsExampleGen and of ImageValidator."""
        return (
            importer.Importer(
                source_uri=self.examples, artifact_type=standard_artifacts.Examples, output_key="examples"
            ).with_id("TfdsExampleGen"),
            importer.Importer(
                source_uri=self.image_report, artifact_type=artifacts.ImageReport, output_key="image_report"
            ).with_id("ImageValidator"),
        )
