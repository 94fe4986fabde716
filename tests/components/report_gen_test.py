"""The report: its figures, its page and what it reads. That of a whole run is in pipeline_test.py."""

import dataclasses
import io
import json
import re
import shlex
import xml.etree.ElementTree as ET

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.comparison import Comparison
from components.report_gen import (
    baselines,
    commands,
    drawings,
    figures,
    front_figures,
    inputs,
    page,
    pictures,
    search_figures,
    settings,
)
from components.report_gen.evaluation_results import ClassResult, Evaluation, read_evaluation
from models import export
from models.architectures import presets
from models.architectures.nasbench201 import NasBench201Genotype
from models.baselines import verdict
from models.costs.latency import Latency
from models.data import preprocessing
from models.data.dataset_info import DatasetInfo
from models.data.image_format import ImageFormat
from models.exports.verified import Export
from models.oracle.distribution import Distribution
from models.planning.plan import Plan
from models.runtime import artifact_files
from models.search.front import Front, Point
from models.search.payoff import Payoff, Prediction
from models.settings import Settings
from pipeline.configs import digits, digits_mobile
from tests.support.html_page import Page

COMPARED = Comparison(
    threshold=0.7, chance=0.25, majority_class="dog", majority_share=0.6, clearly_more=0.7, baseline_accuracy=0.9
)
BASELINES = verdict.compare(
    np.arange(20) % 2,
    (np.arange(20) % 2, verdict.Cost(3786742, 599110272, 12.0, 3)),
    {
        "majority": (np.zeros(20, int), verdict.Cost(0, 0, 0.0, details="always answers <cat>")),
        "cnn": (np.arange(20) % 2, verdict.Cost(94858, 7452416, 1.5, 30)),
        "pretrained": (np.arange(20) % 3 % 2, verdict.Cost(1000, None, 2.0)),
    },
)
COSTS = {"params": 60_000, "macs": 2_000_000, "latency_ms": None, "file_mb": 1.25}
FRONT = Front(
    "macs",
    tuple(
        Point(f"/a/front/0{number}.json", {**COSTS, "macs": 10**6 * (number + 1)}, 0.1 * number) for number in range(3)
    ),
    Point(None, COSTS, 0.15),
    {"darts_v2": Point(None, {**COSTS, "macs": 4_000_000}, -0.5)},
)
USED = Settings.parse(digits.get_config())
NASBENCH201 = NasBench201Genotype(
    ("nor_conv_3x3", "none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
)
SVG = "{http://www.w3.org/2000/svg}"


def choices(count=28, operations=8) -> tuple[inputs.Choice, ...]:
    names = tuple(f"operation_{number}" for number in range(operations))
    rows = np.random.default_rng(0).dirichlet(np.ones(operations), count)
    return tuple(inputs.Choice(f"choice_{number}", names, tuple(row)) for number, row in enumerate(rows))


def search(epochs=5, of=None) -> inputs.Search:
    """A search whose third epoch failed."""
    of = of or choices()
    figures_of = {"entropy": 50.0, "best": 0.5, "loss": 2.0, "accuracy": 0.4, "val_loss": 1.5, "val_accuracy": 0.5}
    failed = {"epoch": 2, "status": "FAILED", "entropy": 50.0, "best": 0.5}
    return inputs.Search(
        rule="paper",
        objective="val_accuracy",
        choices=of,
        epochs=tuple(
            failed if epoch == 2 else {"epoch": epoch, "status": "COMPLETED", **figures_of} for epoch in range(epochs)
        ),
        movement=tuple((epoch, [choice.probabilities for choice in of]) for epoch in range(epochs) if epoch != 2),
        best_epoch=3,
        best_score=0.5,
        payoff=None,
        prediction=None,
        evaluated=tuple(tuple(range(len(choice.operations))) for choice in of),
        warnings=(),
    )


def scored_search() -> inputs.Search:
    """A search by spectral scores whose third epoch failed; its epochs have no accuracy and no loss."""
    epochs = tuple(
        {"epoch": epoch, "status": "COMPLETED", "entropy": 2.0, "best": 0.5, "spectrum": 0.1 * (epoch + 1)}
        for epoch in range(5)
    )
    epochs = (*epochs[:2], {"epoch": 2, "status": "FAILED", "entropy": 2.0, "best": 0.5}, *epochs[3:])
    return dataclasses.replace(search(of=choices(3, 2)), objective="spectrum", epochs=epochs)


def found(class_names=("cat", "dog"), **changes) -> inputs.Inputs:
    """What a run left: two classes, a search, a blessed and pushed model, unless changes say otherwise."""
    classes = len(class_names)
    mdenas = presets.PRESETS["mdenas_cifar10"].genotype
    png = pictures.thumbnail(encoded(Image.new("L", (8, 8), 99)), ImageFormat((8, 8, 1)))
    return inputs.Inputs(
        **{
            "info": DatasetInfo(
                name="pets",
                version="1.0.0",
                class_names=tuple(class_names),
                counts={split: (7,) * classes for split in ("train", "val", "test")},
                height=(8, 8),
                width=(8, 9),
                channels=(1, 1),
                normalization={},
                seed=0,
                val_fraction=0.5,
            ),
            "form": ImageFormat((8, 8, 1)),
            "samples": {name: [png] for name in class_names},
            "mistakes": (pictures.Mistake(class_names[1], class_names[0], 0.93, png, "test/1.png"),),
            "warnings": ("The classes are very unequal.",),
            "undecodable": 3,
            "genotype": mdenas,
            "derivation": inputs.Derivation("search, best", "best"),
            "search": search(of=choices(3, 2)),
            "training": inputs.Training(
                3786742, 599110272, 1.0, 12.0, ({"epoch": 0, "loss": 2.0, "accuracy": 0.5, "learning_rate": 0.1},)
            ),
            "evaluation": Evaluation(
                accuracy=0.8125,
                loss=0.5,
                images=16,
                classes=tuple(ClassResult(name, 1 - label / classes, 8) for label, name in enumerate(class_names)),
                confusion={(label, label): 5 for label in range(classes)} | {(1, 0): 3},
                failures=(),
            ),
            "compared": COMPARED,
            "blessed": True,
            "pushed": "/models/7",
            **changes,
        }
    )


def encoded(image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def size(svg: bytes) -> tuple[float, float]:
    """Width and height in points, of what must be a well-formed SVG file."""
    _, _, width, height = map(float, ET.fromstring(svg).attrib["viewBox"].split())
    return width, height


FAILED = {"epoch": 0, "status": "FAILED", "entropy": 58.0, "best": None}
RESULTS = [ClassResult(f"class {number}", number / 120, 30) for number in range(120)]
DRAWN = {
    "counts": lambda: figures.class_counts(["a", "b"], {"train": [3, 4], "test": [1, 0]}),
    "counts of many classes": lambda: figures.class_counts(["a"] * 120, {"train": range(120), "test": range(120)}),
    "search": lambda: search_figures.search_curves(search()),
    "a search of which nothing was completed": lambda: search_figures.search_curves(
        dataclasses.replace(search(epochs=0), epochs=(FAILED,), best_epoch=None, best_score=None)
    ),
    "a search by scores": lambda: search_figures.search_curves(scored_search()),
    "probabilities": lambda: search_figures.probabilities(choices()),
    "probabilities of many choices": lambda: search_figures.probabilities(choices(110)),
    "probabilities where choices differ": lambda: search_figures.probabilities(
        [inputs.Choice("a", ("x", "y"), (0.5, 0.5)), inputs.Choice("b", ("z",), (1.0,))]
    ),
    "evaluations": lambda: search_figures.evaluations(choices(), [range(8)] * 28),
    "evaluations of nothing": lambda: search_figures.evaluations(choices(3, 2), [[0, 0]] * 3),
    "movement": lambda: search_figures.movement(search()),
    "movement of many choices": lambda: search_figures.movement(search(of=choices(110, 10))),
    "movement of nothing": lambda: search_figures.movement(search(epochs=0)),
    "training": lambda: figures.training_curves([{"epoch": 0, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1}]),
    "class accuracies": lambda: figures.class_accuracies(RESULTS[:10], 0.5),
    "class accuracies of many classes": lambda: figures.class_accuracies(RESULTS, 0.5),
    "confusion": lambda: figures.confusion(["a", "b"], {(0, 0): 3, (1, 0): 2}),
    "confusion of many classes": lambda: figures.confusion(["a"] * 120, {(3, 3): 3, (119, 0): 2}),
    "accuracies beside baselines": lambda: baselines.accuracies([BASELINES.network, *BASELINES.baselines]),
    "front": lambda: front_figures.front(FRONT, {"macs": 2_500_000}),
    "names that are markup": lambda: figures.confusion(["<b>&", "$x_$"], {(0, 0): 3, (1, 0): 2}),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    return {name: draw() for name, draw in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_an_svg_no_wider_than_the_page_that_refers_to_nothing_outside(drawn, name):
    width, height = size(drawn[name])
    assert 200 < width <= 10.5 * 72
    assert 0 < height < 14 * 72
    for element in ET.fromstring(drawn[name]).iter():
        for attribute, value in element.attrib.items():
            if attribute.endswith("href"):
                assert value.startswith(("#", "data:image/png;"))


@pytest.mark.parametrize("name", ["search", "movement", "names that are markup"])
def test_a_figure_is_the_same_bytes_again(drawn, name):
    assert DRAWN[name]() == drawn[name]


def test_curves_of_a_search_by_scores_have_a_panel_for_the_score_and_one_for_the_entropy(drawn):
    def panels(svg):
        return [part.get("id") for part in ET.fromstring(svg).iter(f"{SVG}g") if "axes_" in (part.get("id") or "")]

    assert len(panels(drawn["a search by scores"])) == 2
    assert len(panels(drawn["search"])) == 3


def test_the_users_matplotlib_settings_do_not_count(drawn):
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "svg.hashsalt": "other"}):
        assert DRAWN["training"]() == drawn["training"]


def test_the_heat_map_has_a_cell_a_choice_and_operation_and_more_rows_make_it_taller():
    few, many = (search_figures.probabilities(choices(count)) for count in (4, 16))
    assert size(many)[1] > size(few)[1]
    cells = [path for path in ET.fromstring(few).iter(f"{SVG}path") if "stroke: #ffffff" in path.get("style", "")]
    assert len(cells) == 4 * 8


def test_of_many_choices_those_farthest_from_uniform_are_the_ones_that_moved_most():
    made = [inputs.Choice(str(first), ("a", "b"), (first, 1 - first)) for first in (0.5, 0.9, 0.6, 0.1)]
    assert search_figures.most_moved(made) == [1, 3, 2, 0]


def test_the_worst_classes_come_first_and_of_equals_the_larger():
    results = [ClassResult(*values) for values in (("a", 0.9, 5), ("b", 0.2, 5), ("c", 0.2, 9))]
    assert [result.name for result in figures.worst_first(results)] == ["c", "b", "a"]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_published_architecture_is_drawn(name):
    genotype = presets.PRESETS[name].genotype
    drawn = drawings.draw(genotype)
    assert len(drawn) == (1 if hasattr(genotype, "blocks") else 2)
    for drawing in drawn:
        width, height = size(drawing.svg)
        assert 300 < width <= 15 * 72
        assert 80 < height < 8 * 72


def test_boxes_of_a_cell_do_not_touch_and_no_wire_runs_through_one(monkeypatch):
    boxes, wires = [], []
    cells = [
        (lambda genotype=preset.genotype: drawings._cell(genotype.normal, genotype.normal_concat), 8 + 3)
        for preset in presets.PRESETS.values()
        if not hasattr(preset.genotype, "blocks")
    ]
    cells.append((lambda: drawings._nasbench201(NASBENCH201), 6 + 1))

    def recorded(draw, into):
        def record(axes, *arguments, **options):
            into.append(arguments)
            draw(axes, *arguments, **options)

        return record

    monkeypatch.setattr(drawings, "_box", recorded(drawings._box, boxes))
    monkeypatch.setattr(drawings, "_wire", recorded(drawings._wire, wires))
    for draw, count in cells:
        boxes.clear()
        wires.clear()
        draw()
        assert len(boxes) == count
        for number, (x, y, (width, height), *_) in enumerate(boxes):
            for other_x, other_y, (other_width, other_height), *_ in boxes[:number]:
                assert abs(x - other_x) >= (width + other_width) / 2 or abs(y - other_y) >= (height + other_height) / 2
            for (start_x, _), (end_x, end_y), *_ in wires:
                # The level part of a wire, from where it has changed lanes.
                level = (start_x + 0.5, end_x)
                assert abs(y - end_y) >= height / 2 or level[1] <= x - width / 2 + 1e-9 or level[0] >= x + width / 2


@pytest.fixture(scope="module")
def rendered() -> str:
    return page.render(found(), USED)


def test_the_page_tells_the_verdict_and_where_the_architecture_comes_from(rendered):
    shown = Page(rendered)
    verdict = shown.text["verdict"]
    for told in ("0.8125", "yes", "3,786,742", "599,110,272", found().genotype.text(), "search, best"):
        assert told in verdict
    assert re.search(r"chance\s*0\.2500\s*always dog\s*0\.6000\s*latest blessed model\s*0\.9000", shown.text["verdict"])
    assert "from search, best: sampled in epoch 4, in which its validation accuracy was 0.5000" in verdict
    assert "The classes are very unequal." in shown.text["data"]
    assert "3, left out" in shown.text["data"]
    assert "8 to 9 pixels" in shown.text["data"]
    assert "8x8 pixels, grey" in shown.text["data"]
    assert re.search(r"is\s*dog\s*, taken for\s*cat\s*\(0\.93\)", shown.text["test"])
    assert 'title="test/1.png"' in rendered
    assert commands.serve("/models/7", "2.16.1") in shown.text["serve"]
    assert re.search(r"dog\s*cat\s*3", shown.text["test"])
    assert re.search(r"dog\s*0\.5000\s*8\s*cat \(3\)\s*cat\s*1\.0000", shown.text["test"])


def test_the_page_compares_the_network_with_the_baselines(rendered):
    assert "baselines" not in Page(rendered).text
    shown = Page(page.render(found(baselines=BASELINES), USED))
    text = " ".join(shown.text["baselines"].split())
    assert BASELINES.sentence in text and "on the same 20 images" in text
    for row in (BASELINES.network, *BASELINES.baselines):
        low, high = row.interval
        assert f"{row.accuracy:.4f} {low:.4f} – {high:.4f}" in text
    assert "always answers <cat> 0.5000" in text
    assert "cnn 1.0000 0.8389 – 1.0000 94,858 7,452,416 1.5 30 the same within chance 1" in text
    assert "1,000 not known 2.0 better 0.0039" in text


def test_the_page_shows_the_other_formats_and_why_one_was_refused(rendered):
    assert "exports" not in Page(rendered).text
    saved_model = Export("saved_model", 900_000, 0.975, 360, 0.0, Latency(1.5, 1.4, 1.9, 100))
    rows = (
        saved_model,
        dataclasses.replace(saved_model, name="litert_int8", bytes=310_000, accuracy=0.9694, max_difference=0.08),
        Export("onnx", 0, None, 360, None, None, "the conversion failed: no such <operation>"),
    )
    shown = " ".join(Page(page.render(found(exports=rows, exports_uri="/runs/x"), USED)).text["exports"].split())
    for text in ("litert_int8 310,000 0.9694 0.08 1.500", "/runs/x/model_int8.tflite", "onnx not written: the conv"):
        assert text in shown
    assert "no such <operation>" in shown and "/runs/x/model.onnx" not in shown


def test_the_page_shows_costs_limits_and_the_front_with_a_command_for_each_point(rendered):
    assert "front" not in Page(rendered).text
    derivation = inputs.Derivation("search, argmax within the budget", "argmax", (), {"macs": 2_500_000}, COSTS)
    alone = Page(page.render(found(derivation=derivation), USED))
    assert "the best architecture within the budget" in alone.text["verdict"]
    text = " ".join(alone.text["front"].split())
    for told in ("parameters60,000 none", "multiply-adds2,000,000 2,500,000", "file (MB)1.25 none"):
        assert told in text
    assert "latency" not in text and "Front" not in text
    shown = Page(page.render(found(derivation=derivation, front=FRONT), USED))
    text = " ".join(shown.text["front"].split())
    assert "0 60,000 1,000,000 1.25 0 1 60,000 2,000,000 1.25 0.1 2 60,000 3,000,000 1.25 0.2" in text
    assert "darts_v2 60,000 4,000,000 1.25 -0.5" in text
    for number in range(3):
        words = shlex.split(commands.train("again.py", f"runs/front_0{number}", f"/a/front/0{number}.json", False))
        assert words[-1] == f"--config.architecture=/a/front/0{number}.json"
        assert f"--root=runs/front_0{number} \\ --config.architecture=/a/front/0{number}.json" in text
    assert "from_supernet" not in text


def test_the_commands_that_train_a_front_have_no_supernet():
    train = USED.train.model_copy(update={"from_supernet": True})
    derivation = inputs.Derivation("search, argmax", "argmax", costs=COSTS)
    shown = Page(page.render(found(derivation=derivation, front=FRONT), USED.model_copy(update={"train": train})))
    assert "json \\ --config.train.from_supernet=False" in " ".join(shown.text["front"].split())


def test_the_page_tells_of_a_missing_baseline_the_form_of_images_and_warnings_of_the_search():
    data = USED.data.model_copy(update={"image_size": 32, "resize": "pad", "background": "black"})
    used = USED.model_copy(update={"data": data})
    given = found(
        form=ImageFormat((32, 32, 3)),
        mistakes=(),
        search=dataclasses.replace(search(), warnings=("Validation stayed at <chance>.",)),
        compared=dataclasses.replace(
            COMPARED, baseline_accuracy=None, baseline_not_compared="its classes are different", clearly_more=0.9
        ),
    )
    shown = Page(page.render(given, used))
    assert "Not compared with the latest blessed model: its classes are different." in shown.text["verdict"]
    assert "not clearly more than" in shown.text["verdict"] and "always guessing 'dog'" in shown.text["verdict"]
    assert not re.search(r"latest blessed model\s*0\.", shown.text["verdict"])
    for section in ("images", "data"):
        assert "32x32 pixels, colours, resize pad, background black" in shown.text[section]
    assert "Validation stayed at <chance>." in shown.text["search"]
    assert ", taken for" not in shown.text["test"]


def test_the_page_of_a_search_by_scores_tells_of_scores_and_of_settings_that_were_used():
    config = digits.get_config()
    text = page.render(found(search=scored_search()), Settings.parse(config))
    shown = Page(text)
    assert "sampled in epoch 4, in which its score was 0.5000" in shown.text["verdict"]
    assert "Each epoch scores one sampled architecture without training it" in shown.text["search"]
    assert "trains and validates" not in shown.text["search"]
    assert "search.score_images" in text and "search.objective" in text
    for name in ("batch_size", "cells", "learning_rate", "norm_images", "mixed_precision"):
        assert f"search.{name}" not in text
    config.search.objective = "val_accuracy"
    text = page.render(found(), Settings.parse(config))
    assert "search.score_images" not in text and "search.batch_size" in text


def test_the_page_says_whether_a_search_by_scores_paid():
    def told(payoff):
        searched = dataclasses.replace(scored_search(), payoff=payoff)
        return re.sub(r"\s+", " ", Page(page.render(found(search=searched), USED)).text["search"])

    text = told(Payoff(recommended=0.91, evaluations=3, random=0.4, count=16, better=15))
    assert "16 random architectures at the start of the search have a mean score of 0.400" in text
    assert "was evaluated 3 times and has a mean score of 0.910" in text
    assert "This is higher than the scores of 15 of these 16 random architectures" in text
    assert "was never evaluated" in told(Payoff(None, 0, 0.4, 16, None))
    assert "random architectures at the start" not in told(None)


def test_the_page_tells_the_predicted_rank():
    def told(prediction):
        searched = dataclasses.replace(scored_search(), prediction=prediction)
        return re.sub(r"\s+", " ", Page(page.render(found(search=searched), USED)).text["search"])

    text = told(Prediction(rank=(0.8, 0.95, 1.0), gain=(0.1, 0.25, 0.4), count=500, correlation=0.62, chance=0.0))
    assert "is better than 95.0% of all architectures (95 % interval: 80.0% to 100.0%)" in text
    assert "its score is +0.250 (+0.100 to +0.400) from the mean of random architectures" in text
    assert "correlation of these predictions with the observed scores is 0.62" in text
    assert "The update rule paper has no model of architectures" in told(None)


def test_what_is_wide_scrolls_in_a_box_of_its_own(rendered):
    """That nothing is wider than a phone was seen in a browser; these are the rules that make it so."""
    for rule in (
        r"body \{[^}]*overflow-wrap: anywhere",
        r"\.scroll \{ overflow-x: auto",
        r"\.scroll > img \{ max-width: 100%",
        r"pre \{[^}]*white-space: pre-wrap",
    ):
        assert re.search(rule, rendered), rule
    tables = re.findall(r".{0,30}<table", rendered)
    assert len(tables) >= 4
    assert all(before.endswith('<div class="scroll"><table') for before in tables)


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing(rendered):
    shown = Page(rendered)
    assert len(shown.loaded) > 8
    assert all(source.startswith("data:image/") for source in shown.loaded)
    assert not shown.tags & {"script", "link", "iframe", "object", "embed"}


def test_the_page_is_the_same_again(rendered):
    assert page.render(found(), USED) == rendered


def test_class_names_and_warnings_are_text_whatever_is_in_them():
    names = ("<b>bold</b>", "\"><script>alert('x')</script>", "$x")
    text = page.render(found(names, warnings=("<i>look</i>",)), USED.model_copy(update={"name": "<u>run</u>"}))
    shown = Page(text)
    assert not shown.tags & {"script", "i", "u"}
    assert "<b>bold</b>" not in text
    for name in names:
        assert name in shown.text["test"]
        assert name in shown.text["images"]
    assert "<i>look</i>" in shown.text["data"]


def test_the_command_to_serve_can_be_pasted_whatever_the_folder_is_called():
    words = shlex.split(commands.serve("/runs/my run/serving_model/7", "2.16.1"))
    assert words[words.index("-v") + 1] == "/runs/my run/serving_model:/models/mdenas:ro"


def test_a_page_without_a_search_says_so():
    given = found(search=None, derivation=inputs.Derivation("preset mdenas_cifar10"))
    shown = Page(page.render(given, USED))
    assert "the architecture was given" in shown.text["search"]
    assert "preset mdenas_cifar10" in shown.text["verdict"]
    assert "sampled in epoch" not in shown.text["verdict"]
    assert "search epochs" not in shown.text["verdict"]


def test_a_page_of_an_unblessed_model_says_why_and_does_not_say_how_to_serve_it():
    evaluation = dataclasses.replace(found().evaluation, failures=("The accuracy is 0.8125; 0.9 is required.",))
    shown = Page(page.render(found(evaluation=evaluation, blessed=False, pushed=None), USED))
    assert "0.9 is required" in shown.text["verdict"]
    assert re.search(r"no\s*blessed", shown.text["verdict"])
    assert "docker" not in shown.text["serve"]
    assert "was not pushed" in shown.text["serve"]


def test_a_page_of_many_classes_is_no_larger_than_what_has_room():
    many = Page(page.render(found([f"class {number}" for number in range(200)]), USED))
    assert "Confusion matrix" not in many.text["test"]
    assert "Most frequent mistakes" in many.text["test"]
    assert all(f"class {number}" in many.text["test"] for number in range(200))


def test_a_mobile_architecture_is_on_the_page():
    genotype = presets.PRESETS["mdenas_gpu"].genotype
    shown = Page(page.render(found(genotype=genotype), USED))
    assert "Blocks" in shown.text["architecture"]
    assert genotype.text() in shown.text["verdict"]


def test_an_architecture_of_nas_bench_201_is_on_the_page():
    shown = Page(page.render(found(genotype=NASBENCH201), USED))
    assert "All cells of the network are equal" in shown.text["architecture"]
    assert NASBENCH201.text() in shown.text["verdict"]
    (drawing,) = drawings.draw(NASBENCH201)
    width, height = size(drawing.svg)
    assert 300 < width <= 15 * 72 and 80 < height < 8 * 72


@pytest.mark.parametrize("config", [digits, digits_mobile], ids=lambda module: module.__name__)
def test_the_config_file_on_the_page_gives_the_same_settings(config):
    wanted = config.get_config()
    wanted.oracle.warmup_rounds = 2
    wanted.space.operations = ("skip_connect", "sep_conv_3x3") if config is digits else ("k3_e3", "skip")
    text = settings.config_file(Settings.parse(wanted))
    namespace = {}
    exec(text, namespace)
    assert Settings.parse(namespace["get_config"]()) == Settings.parse(wanted)
    # Only what differs is there.
    assert "momentum" not in text


def test_settings_that_a_run_on_kubeflow_was_started_with_are_the_ones_shown():
    started = settings.used(
        {
            "settings": USED.to_json(),
            "seed": 7,
            "search_epochs": 9,
            "training": json.dumps({"train": {**dict(USED.train), "epochs": 11}, "checkpoint_dir": "/x"}),
            "data_dir": "/data",
            "data_version": "2.0.0",
            "image_folder": "/images",
        }
    )
    assert (started.seed, started.search.epochs, started.train.epochs) == (7, 9, 11)
    assert (started.data.data_dir, started.data.version) == ("/data", "2.0.0")
    assert started.data.image_folder == "/images"
    assert started.oracle == USED.oracle


@pytest.mark.parametrize(
    "shape, expected",
    [((8, 8, 3), (64, 64)), ((28, 20, 1), (40, 56)), ((200, 100, 3), (32, 64)), ((48, 48, 1), (48, 48))],
)
def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_fit(shape, expected):
    with Image.open(io.BytesIO(pictures.thumbnail(encoded(Image.new("RGB", (9, 9))), ImageFormat(shape)))) as image:
        assert image.size == expected


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_shows_what_the_network_gets(mode, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    image = Image.fromarray(pixels[..., :2].copy().view("<u2")[..., 0]) if mode == "I;16" else None
    file = encoded(image or Image.fromarray(pixels).convert(mode))
    with Image.open(io.BytesIO(pictures.thumbnail(file, ImageFormat((16, 16, channels))))) as shown:
        seen = np.asarray(shown)[::4, ::4].reshape(16, 16, channels)
    np.testing.assert_array_equal(seen, preprocessing.decode_image(file, ImageFormat((16, 16, channels))))


class Split:
    """A split of grey 2x2 images of one value each, and a model that takes bright ones for `light`, others for `dark`.

    Args:
        directory: Where both go.
        examples: (label, value) pairs, in the order of the ids.
    """

    NAMES = ("dark", "light", "other")

    def __init__(self, directory, examples):
        self.split, self.model = str(directory / "Split-test"), str(directory / "model")
        tf.io.gfile.makedirs(self.split)
        with tf.io.TFRecordWriter(f"{self.split}/examples.gz", "GZIP") as writer:
            for number, (label, value) in enumerate(examples):
                writer.write(self._example(number, label, value).SerializeToString())
        model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.set_weights([np.repeat([[-1.0, 1.0, 0.0]], 4, axis=0), np.array([2.0, -2.0, -9.0])])
        export.export_model(
            model,
            self.model,
            image_format=ImageFormat((2, 2, 1)),
            class_names=self.NAMES,
            mean=[0.0],
            std=[1.0],
            top_k=1,
        )

    @staticmethod
    def _example(number, label, value):
        features = {
            "image": tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[encoded(Image.new("L", (2, 2), int(value)))])
            ),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"%05d" % number])),
        }
        return tf.train.Example(features=tf.train.Features(feature=features))

    def mistakes(self):
        return pictures.mistakes(self.model, self.split, self.NAMES, ImageFormat((2, 2, 1)))


def test_the_surest_mistakes_of_every_class_are_shown_with_what_they_were_taken_for(tmp_path):
    # Sorted by class as folders are, more than a batch, and one class with far more mistakes than there is room for.
    dark = [(0, value) for value in (*range(10, 100, 2), *range(150, 250))]
    light = [(1, value) for value in (*range(150, 250), 40, 20, 90)]
    other = [(2, 140)]
    split = Split(tmp_path, dark + light + other)
    shown = split.mistakes()
    assert len(shown) == 40
    probabilities = [mistake.probability for mistake in shown]
    assert probabilities == sorted(probabilities, reverse=True)
    taken = [(mistake.name, mistake.taken_for) for mistake in shown]
    assert taken.count(("dark", "light")) == 36
    assert taken.count(("light", "dark")) == 3
    assert taken[-1] == ("other", "light")
    values = [int(np.asarray(Image.open(io.BytesIO(mistake.picture)))[0, 0]) for mistake in shown]
    assert sorted(value for value, pair in zip(values, taken, strict=True) if pair[0] == "dark") == [*range(214, 250)]
    logit = 8 * 249 / 255 - 4
    assert probabilities[0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    assert split.mistakes() == shown


def test_a_model_without_a_mistake_shows_none(tmp_path):
    assert Split(tmp_path, [(0, 10), (1, 250)]).mistakes() == ()


COUNTS = {"train": (1, 1), "val": (1, 1)}
MALFORMED = {
    "no JSON": "{",
    "something else": "[]",
    "a key is missing": '{"choices": []}',
    "probabilities are missing": json.dumps(
        {
            "choices": [{"name": "a", "operations": ["x"], "probabilities": []}],
            "argmax": {"a": "x"},
            "best": None,
            "rule": {"name": "paper", "direction": "max", "warmup_rounds": 0},
            "history": [],
        }
    ),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_input_is_named(tmp_path, content):
    (tmp_path / "distribution.json").write_text(content)
    with pytest.raises(artifact_files.ArtifactError, match=r"distribution\.json is malformed"):
        artifact_files.DISTRIBUTION.load(str(tmp_path), Distribution.from_document)


@pytest.mark.parametrize(
    "parse, document",
    [
        (inputs._epochs, [{"epoch": 0, "status": "COMPLETED", "entropy": 1.0, "best": 0.5}]),
        (inputs._training, {"params": 1, "macs": 1, "seconds": 1.0, "history": [{"epoch": 0}]}),
    ],
)
def test_figures_that_an_epoch_lacks_are_named(tmp_path, parse, document):
    (tmp_path / "file.json").write_text(json.dumps(document))
    with pytest.raises(artifact_files.ArtifactError, match=r"file\.json is malformed.*loss, .*of an epoch"):
        artifact_files.JsonFile("file.json", "Trainer").load(str(tmp_path), parse)


DOCUMENT = {
    "choices": [{"name": "a", "operations": ["x", "y"], "probabilities": [0.25, 0.75]}],
    "argmax": {"a": "y"},
    "best": {"architecture": {"a": "y"}, "score": 0.75, "trial": "1"},
    "rule": {"name": "paper", "direction": "max", "warmup_rounds": 0},
    "history": [],
}
COUNTS = {"train": (20, 20), "val": (20, 20)}


def evaluation(trial, operation):
    return {"trial": trial, "architecture": {"a": operation}, "score": 0.5, "probabilities": [[0.5, 0.5]]}


def read_search(epochs, objective="spectrum", prediction=None):
    return inputs._search(Distribution.from_document(DOCUMENT), prediction, epochs, COUNTS, objective)


@pytest.mark.parametrize("objective", ["val_accuracy", "spectrum"])
def test_epochs_of_both_objectives_are_read(tmp_path, objective):
    made = scored_search() if objective == "spectrum" else search(of=choices(3, 2))
    artifact_files.EPOCHS.save(str(tmp_path), list(made.epochs))
    epochs = artifact_files.EPOCHS.load(str(tmp_path), inputs._epochs)
    assert epochs == made.epochs
    read = read_search(epochs, objective)
    assert (read.objective, read.epochs, read.best_epoch, read.best_score) == (objective, epochs, 1, 0.75)


def test_equal_scores_of_a_search_are_warned_of():
    equal = tuple({**figures_of, "spectrum": 0.5} for figures_of in scored_search().epochs)
    (warning,) = read_search(equal).warnings
    assert "could not tell architectures apart" in warning
    assert not read_search(scored_search().epochs).warnings


def test_a_search_without_a_completed_trial_keeps_its_objective():
    failed = tuple({"epoch": epoch, "status": "FAILED", "entropy": 2.0, "best": None} for epoch in range(3))
    assert read_search(failed).objective == "spectrum"


def test_scores_that_do_not_depend_on_architectures_are_warned_of():
    epochs = scored_search().epochs
    (warning,) = read_search(epochs, prediction=Prediction((0.6, 0.9, 1.0), (0.1, 0.2, 0.3), 500, 0.03, 0.31)).warnings
    assert "may have learned nothing" in warning and "rank correlation 0.03, p = 0.31" in warning
    known = Prediction((0.6, 0.9, 1.0), (0.1, 0.2, 0.3), 500, 0.4, 0.001)
    assert not read_search(epochs, prediction=known).warnings


def test_evaluations_of_each_operation_are_counted():
    document = dict(DOCUMENT, history=[evaluation("0", "x"), evaluation("1", "y"), evaluation("2", "y")])
    read = inputs._search(Distribution.from_document(document), None, (), COUNTS, "spectrum")
    assert read.evaluated == ((1, 2),)


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(artifact_files.ArtifactError, match=r"training\.json does not exist"):
        artifact_files.TRAINING.load(str(tmp_path), inputs._training)


def test_a_missing_evaluation_is_named(tmp_path):
    with pytest.raises(artifact_files.ArtifactError, match=re.escape(str(tmp_path))):
        read_evaluation(str(tmp_path), ["a", "b"])


def test_the_page_sets_the_seconds_of_a_budget_beside_the_plan():
    plan = Plan(
        minutes=12.0,
        choices={"train.epochs": 41, "train.cells": 3},
        reasons=("The network has <3> cells.",),
        warnings=("Too few epochs.",),
        seconds={"start and data": 33.0, "search": 444.0, "training": 222.0, "evaluation": 9.0},
        over=("start and data", "search"),
        first={"start and data": 33.0, "search": 111.0, "training": 555.0, "evaluation": 8.0},
    )
    with_plan, without = found(plan=plan), found()
    text = Page(page.render(with_plan, plan.apply(USED))).text
    for row in (r"start and data\s+33\s+33\s+33", r"search\s+111\s+444\s+444", r"training\s+555\s+222\s+12"):
        assert re.search(row, text["time"]), row
    assert re.search(r"evaluation\s+8\s+9\s+–", text["time"])
    for part in ("12 minutes", "The network has <3> cells.", "Too few epochs."):
        assert part in text["time"]
    assert "no budget" in Page(page.render(without, USED)).text["time"]


def test_a_run_with_a_budget_is_repeated_with_the_settings_that_were_planned():
    used = Settings.parse({"budget": {"minutes": 5.0, "keep": ("train.cells",)}})
    text = settings.config_file(Plan(5.0, {"train.epochs": 41}).apply(used))
    assert "config.train.epochs = 41" in text and "budget" not in text
