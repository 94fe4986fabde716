"""The Beam graph that looks at all images."""

from collections.abc import Iterator, Mapping

import apache_beam as beam

from components.image_validator import look, pictures
from components.image_validator.findings import Findings, Sample

_USUAL = 20  # sizes in the report

# An attribute and one of its values, such as ("size", "32x32"), with the images that have it.
_Value = tuple[tuple[str, str | int], Sample]


class Inspect(beam.PTransform):
    """Maps files of examples (look.File) to the Findings in all of them, one element.

    No collection has an element for each image: a worker adds up some of the images of a file before it hands them on.
    """

    def __init__(self, look_at_file: look.LookAtFile):
        """Takes what is done with each file."""
        super().__init__()
        self._look_at_file = look_at_file

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        """Returns the Findings."""
        looked = (
            files
            | "ShareOut" >> beam.Reshuffle()
            | "Look" >> beam.ParDo(self._look_at_file).with_outputs(look.VALUES, look.PICTURES, main=look.FINDINGS)
        )
        # Not a combiner: a worker would hold the pictures of all its files in order to combine them.
        repeated = (
            looked[look.PICTURES]
            | "BringTogether" >> beam.GroupByKey()
            | "Compare" >> beam.MapTuple(lambda part, found: pictures.compare(found))
        )
        values = looked[look.VALUES] | "AddUpValues" >> beam.CombinePerKey(Sample.sum)
        usual = (
            values
            | "ByAttribute" >> beam.Map(lambda value: (value[0][0], value))
            | "Usual" >> beam.combiners.Top.PerKey(_USUAL, key=_frequency)
        )
        others = values | "Others" >> beam.FlatMap(_others, beam.pvalue.AsDict(usual))
        found = (
            looked[look.FINDINGS],
            repeated,
            usual | "NoteUsual" >> beam.MapTuple(_note_usual),
            others,
        )
        return found | beam.Flatten() | "AddUp" >> beam.CombineGlobally(Findings.sum)


def _frequency(value: _Value):
    """Returns what sorts values by the number of images; equal numbers by the place of the first image."""
    _, sample = value
    return sample.count, tuple(-number for number in sample.first[0][0])


def _note_usual(what: str, values: list[_Value]) -> Findings:
    return Findings(usual={what: [(value, sample.count) for (_, value), sample in values]})


def _others(value: _Value, usual: Mapping[str, list[_Value]]) -> Iterator[Findings]:
    """Yields the images with a value that is not the most frequent one of its attribute."""
    (what, _), sample = value
    most_frequent, *_ = usual[what]
    if value[0] != most_frequent[0]:
        yield Findings(samples={("other", what): sample})
