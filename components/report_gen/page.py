"""The page of the report: fills the template page.html."""

import base64
import dataclasses
import json
import os
from collections.abc import Sequence

import jinja2

from components.comparison import Comparison
from components.report_gen import baselines, commands, drawings, figures, front_figures, search_figures, settings
from components.report_gen.evaluation_results import ClassResult, Evaluation
from components.report_gen.inputs import Derivation, Inputs, Search
from components.report_gen.pictures import LOOKED_AT
from models.baselines import verdict
from models.planning.plan import STAGES, TRAINING
from models.runtime import artifact_files
from models.settings import Data, Settings

_CONFUSED = 10  # number of pairs of classes in the table of mistakes


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes:
        source: A data URI.
        description: The text for people who cannot see the image.
    """

    source: str
    description: str


def render(found: Inputs, used: Settings) -> str:
    """Returns the page as HTML that needs no other file.

    Args:
        found: The contents of the report.
        used: The settings of the run.
    """
    document = found.genotype.to_dict()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        name=used.name,
        found=found,
        explanation=_explanation(found.derivation, found.search),
        number=_number,
        yardsticks=_yardsticks(found.compared),
        failures=_failures(found),
        form=_form(found, used.data),
        samples={
            name: [_picture(image, "image/png", f"image of class {name}") for image in images]
            for name, images in found.samples.items()
        },
        mistakes=[
            (mistake, _picture(mistake.picture, "image/png", f"image of class {mistake.name}, {mistake.id}"))
            for mistake in found.mistakes
        ],
        looked_at=min(found.evaluation.images, LOOKED_AT),
        stages=_stages(found),
        images_per_second=_images_per_second(found, used.train.splits),
        counts={split: sum(counts) for split, counts in found.info.counts.items()},
        pictures=_pictures(found),
        choices=len(found.search.choices) if found.search else 0,
        panels=search_figures.PANELS,
        costs=front_figures.LABELS,
        train_commands=[
            commands.train("again.py", f"runs/front_{number:02d}", str(point.genotype), used.train.from_supernet)
            for number, point in enumerate(found.front.points if found.front else ())
        ],
        architecture=[
            (drawing.title, drawing.caption, _picture(drawing.svg, "image/svg+xml", f"graph: {drawing.title}"))
            for drawing in drawings.draw(found.genotype)
        ],
        genotype=json.dumps(document),
        space=document["space"],
        classes=_classes(found.evaluation, found.info.class_names),
        confused=_confused(found.evaluation, found.info.class_names),
        settings={name: json.dumps(value, ensure_ascii=False) for name, value in settings.flat(used).items()},
        config_file=settings.config_file(used),
        accuracies=_accuracies(found.baselines),
        words=verdict.WORDS,
        files={name: file.path(found.exports_uri) for name, file in artifact_files.EXPORTED.items()},
        threads=used.export.threads,
        serve=_serve(found.pushed, used.deploy.tensorflow_serving_tag),
    )


def _pictures(found: Inputs) -> dict[str, Picture | None]:
    """Returns the charts by name; None if a chart has no data, or too much data to be readable."""
    names = found.info.class_names
    evaluation = found.evaluation
    drawn = {
        "counts": (figures.class_counts(names, found.info.counts), "images per class and split"),
        "training": (figures.training_curves(found.training.history), "accuracy, loss and learning rate per epoch"),
        "classes": (figures.class_accuracies(evaluation.classes, evaluation.accuracy), "test accuracy per class"),
    }
    if len(names) <= figures.MATRIX:
        drawn["confusion"] = (figures.confusion(names, evaluation.confusion), "confusion matrix of the test images")
    if found.search:
        drawn |= {
            "search": (search_figures.search_curves(found.search), "objective and entropy per search epoch"),
            "probabilities": (
                search_figures.probabilities(found.search.choices),
                "probability of each choice's operations",
            ),
            "evaluations": (
                search_figures.evaluations(found.search.choices, found.search.evaluated),
                "number of evaluations of each choice's operations",
            ),
            "movement": (search_figures.movement(found.search), "probability of each choice's operations per epoch"),
        }
    if found.front:
        drawn["front"] = (
            front_figures.front(found.front, found.derivation.limits),
            "predicted score against each cost of the architectures of the front",
        )
    pictures: dict[str, Picture | None] = dict.fromkeys(
        ("search", "probabilities", "evaluations", "movement", "confusion", "front")
    )
    return pictures | {name: _picture(svg, "image/svg+xml", text) for name, (svg, text) in drawn.items()}


def _stages(found: Inputs) -> list[tuple[str, float | None, float | None, float | None]]:
    """Returns for each stage of a budget: its name, and its seconds in the first plan, in the corrected plan, and used.

    The first plan is made before the search, the corrected one after it. The used seconds of the stages after the
    training are not known here; summary.json has them.
    """
    if not found.plan:
        return []
    plan = found.plan
    used = {name: plan.seconds[name] for name in plan.over}
    used[TRAINING] = found.training.seconds + found.training.other_seconds
    rows = [(name, plan.first.get(name), plan.seconds.get(name), used.get(name)) for name in STAGES]
    return [row for row in rows if any(row[1:])]


def _images_per_second(found: Inputs, splits: Sequence[str]) -> float:
    images = sum(sum(found.info.counts[split]) for split in splits)
    return images * found.training.epochs / max(found.training.seconds, 1e-9)


def _accuracies(compared: verdict.Comparison | None) -> Picture | None:
    """Returns the chart of the comparison with the baselines; None if there are none."""
    if compared is None:
        return None
    svg = baselines.accuracies([compared.network, *compared.baselines])
    return _picture(svg, "image/svg+xml", "test accuracy and interval of the network and of the baselines")


def _serve(pushed: str | None, tag: str) -> str | None:
    return commands.serve(pushed, tag) if pushed and "://" not in pushed else None


def _picture(content: bytes, kind: str, description: str) -> Picture:
    return Picture(f"data:{kind};base64,{base64.b64encode(content).decode()}", description)


def _failures(found: Inputs) -> list[str]:
    """Returns why the model was not blessed, and a warning if it may have learned nothing."""
    unclear = found.compared.failure(found.evaluation.accuracy)
    return [*found.evaluation.failures, *([unclear] if unclear else [])]


def _yardsticks(compared: Comparison) -> list[tuple[str, float]]:
    """Returns the accuracies with which the test accuracy is compared, with their names."""
    yardsticks = [("chance", compared.chance), (f"always {compared.majority_class}", compared.majority_share)]
    if compared.baseline_accuracy is not None:
        yardsticks.append(("latest blessed model", compared.baseline_accuracy))
    return yardsticks


def _form(found: Inputs, data: Data) -> str:
    """Returns the form in which the network gets the images, in words."""
    height, width, channels = found.form.image_shape
    form = f"{height}x{width} pixels, {'grey' if channels == 1 else 'colours'}"
    return form + (f", resize {data.resize}, background {data.background}" if data.image_size else "")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _explanation(derivation: Derivation, search: Search | None) -> str | None:
    """Returns an explanation of the derivation's source; None if no search found the architecture."""
    source = derivation.source
    if source and derivation.limits:
        return "the best architecture within the budget (config.derive.budget), by what the search learned"
    if source == "argmax":
        return "the architecture that the update rule recommends; for most rules, the most probable operations"
    if source == "best" and search and search.best_epoch is not None:
        what = "validation accuracy" if search.objective == "val_accuracy" else "score"
        return f"sampled in epoch {search.best_epoch + 1}, in which its {what} was {search.best_score:.4f}"
    return None


def _classes(evaluation: Evaluation, class_names: Sequence[str]) -> list[tuple[ClassResult, str]]:
    """Returns the classes, the worst first, each with the class for which its images are most often mistaken."""
    mistaken: dict[str, tuple[int, str]] = {}
    for (label, predicted), count in evaluation.confusion.items():
        name = class_names[label]
        if label != predicted and count > mistaken.get(name, (0, ""))[0]:
            mistaken[name] = (count, f"{class_names[predicted]} ({count})")
    return [(result, mistaken.get(result.name, (0, ""))[1]) for result in figures.worst_first(evaluation.classes)]


def _confused(evaluation: Evaluation, class_names: Sequence[str]) -> list[tuple[str, str, int]]:
    """Returns triples, the most frequent mistake first: class, predicted class, number of images."""
    mistakes = [(pair, count) for pair, count in evaluation.confusion.items() if pair[0] != pair[1]]
    mistakes.sort(key=lambda mistake: -mistake[1])
    return [(class_names[label], class_names[predicted], count) for (label, predicted), count in mistakes[:_CONFUSED]]
