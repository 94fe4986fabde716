"""Reads the contents of the report from the artifacts of a run."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tfx.types import artifact, artifact_utils
from tfx.utils import path_utils

from components import comparison
from components.report_gen import pictures
from components.report_gen.evaluation_results import Evaluation, read_evaluation
from models.architectures.genotype import Genotype, genotype_from_dict
from models.baselines import verdict
from models.data import dataset_info
from models.data.image_format import ImageFormat
from models.exports.verified import Export
from models.oracle.distribution import Distribution
from models.planning.plan import Plan
from models.runtime import artifact_files
from models.search import payoff as payoffs
from models.search import search_signal, spectrum
from models.search.front import Front, Point
from models.search.payoff import Payoff, Prediction
from models.settings import Data

_Parsed = TypeVar("_Parsed")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A choice of the search space, and the final probabilities of its operations."""

    name: str
    operations: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Search:
    """The results of a search.

    Attributes:
        rule: Name of the update rule.
        choices: The choices with their final probabilities.
        objective: What the search maximised: "val_accuracy" or "spectrum" (models/search/spectrum.py).
        epochs: For each epoch `epoch` (0-based), `status`, `entropy` (nats) and `best` (best score so far). A completed
            epoch also has its score under the name of the objective, and with "val_accuracy" `loss`, `accuracy` and
            `val_loss`.
        movement: A pair for each completed epoch: its number (0-based), and the probabilities after it as one sequence
            per choice.
        best_epoch: The epoch (0-based) of the best evaluated architecture; None if no epoch was completed.
        best_score: The score in this epoch, 0 to 1.
        payoff: The comparison of the recommended architecture with random ones; None with "val_accuracy", whose scores
            rise during the search.
        prediction: The predicted rank of the recommended architecture; None if the rule predicts nothing.
        evaluated: For each choice the number of evaluations of each of its operations.
        warnings: Reasons why the result of the search may be chance (models/search/search_signal.py and spectrum.py).
    """

    rule: str
    objective: str
    choices: tuple[Choice, ...]
    epochs: tuple[Mapping[str, Any], ...]
    movement: tuple[tuple[int, Sequence[Sequence[float]]], ...]
    best_epoch: int | None
    best_score: float | None
    payoff: Payoff | None
    prediction: Prediction | None
    evaluated: tuple[tuple[int, ...], ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Derivation:
    """The source of the architecture.

    Attributes:
        origin: The source in words.
        source: "argmax" or "best"; None if no search found the architecture.
        warnings: Reasons against this architecture.
        limits: The budget of the derivation: name of a cost -> its limit.
        costs: What the architecture costs, by name, if the derivation had to know it.
    """

    origin: str
    source: str | None = None
    warnings: tuple[str, ...] = ()
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    costs: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Training:
    """The final training.

    Attributes:
        params: Number of trainable parameters, without the auxiliary head.
        macs: Multiply-adds for one image.
        epochs: How many times the training took all images.
        seconds: Seconds of the epochs.
        history: Per epoch `epoch` (0-based), `loss`, `accuracy` and `learning_rate`.
        other_seconds: Seconds that the Trainer used outside its epochs.
    """

    params: int
    macs: int
    epochs: float
    seconds: float
    history: tuple[Mapping[str, float], ...]
    other_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The contents of the report.

    Attributes:
        info: Facts about the data set.
        form: The form in which the network gets images.
        samples: Class name -> images of `train`, as PNGs; classes without images are left out.
        mistakes: Images of `test` for which the model predicts a wrong class.
        warnings: The warnings of the ImageValidator.
        undecodable: Number of images left out because they could not be decoded.
        genotype: The architecture that was trained.
        derivation: The source of the architecture.
        search: The results of the search; None if the architecture was given.
        training: The final training.
        evaluation: The results on the test images.
        compared: The accuracies with which the test accuracy is compared.
        blessed: Whether the Evaluator blessed the model.
        pushed: The folder to which the model was pushed; None if it was not pushed.
        plan: The corrected plan of a budget; None without a budget.
        baselines: The comparison with the baselines; None if there are none.
        exports: The SavedModel and the model in other formats; empty if there are no other formats.
        exports_uri: The folder with the files of the other formats.
        front: Further architectures that the deriver wrote, with the paths of their files; None if there are none.
    """

    info: dataset_info.DatasetInfo
    form: ImageFormat
    samples: Mapping[str, Sequence[bytes]]
    mistakes: Sequence[pictures.Mistake]
    warnings: tuple[str, ...]
    undecodable: int
    genotype: Genotype
    derivation: Derivation
    search: Search | None
    training: Training
    evaluation: Evaluation
    compared: comparison.Comparison
    blessed: bool
    pushed: str | None
    plan: Plan | None = None
    baselines: verdict.Comparison | None = None
    exports: Sequence[Export] = ()
    exports_uri: str = ""
    front: Front | None = None


def read(artifacts: Mapping[str, list[artifact.Artifact]], data: Data, objective: str) -> Inputs:
    """Reads the inputs of ReportGen.

    Args:
        artifacts: The inputs of ReportGen by name.
        data: `config.data`.
        objective: `config.search.objective`.

    Raises:
        ArtifactError: A file is missing or malformed.
        DataError: The file with the facts about the data set is missing or malformed.
    """
    uris = {name: artifact_utils.get_single_uri(found) for name, found in artifacts.items() if found}
    info = dataset_info.load(uris["examples"])
    warnings, undecodable = artifact_files.IMAGE_REPORT.load(uris["image_report"], _image_report)
    search = None
    if "distribution" in uris:
        epochs = artifact_files.EPOCHS.load(uris["results"], _epochs)
        distribution = artifact_files.DISTRIBUTION.load(uris["distribution"], Distribution.from_document)
        prediction = artifact_files.PREDICTION.load(uris["distribution"], Prediction.from_document)
        search = _search(distribution, prediction, epochs, info.counts, objective)
    plan = artifact_files.PLAN.load(uris["plan"], Plan.from_document) if "plan" in uris else None
    pushed = artifact_utils.get_single_instance(artifacts["pushed_model"])
    blessing = artifact_utils.get_single_instance(artifacts["blessing"])
    train, test = (artifact_utils.get_split_uri(artifacts["examples"], split) for split in ("train", "test"))
    form = ImageFormat.from_settings(info.image_shape(data.image_size, data.channels), data)
    return Inputs(
        info=info,
        form=form,
        samples=pictures.samples(train, info.class_names, form),
        mistakes=pictures.mistakes(path_utils.serving_model_path(uris["model"]), test, info.class_names, form),
        warnings=warnings,
        undecodable=undecodable,
        genotype=artifact_files.GENOTYPE.load(uris["genotype"], genotype_from_dict),
        derivation=artifact_files.DERIVATION.load(uris["genotype"], _derivation),
        search=search,
        training=artifact_files.TRAINING.load(uris["model_run"], _training),
        evaluation=read_evaluation(uris["evaluation"], info.class_names),
        compared=comparison.read(uris["evaluation"]),
        blessed=bool(blessing.get_int_custom_property("blessed")),
        pushed=pushed.get_string_custom_property("pushed_destination")
        if pushed.get_int_custom_property("pushed")
        else None,
        plan=plan if plan and plan.minutes else None,
        baselines=artifact_files.BASELINES.load(uris["baselines"], verdict.Comparison.from_document)
        if "baselines" in uris
        else None,
        exports=artifact_files.EXPORTS.load(uris["exports"], _exports) if "exports" in uris else (),
        exports_uri=uris.get("exports", ""),
        front=read_front(uris["genotype"]),
    )


def read_front(uri: str) -> Front | None:
    """Reads the front beside a genotype; the points have whole paths.

    Args:
        uri: The URI of the artifact `genotype`.

    Returns:
        The front; None if there is none.

    Raises:
        ArtifactError: The file is malformed.
    """
    if not artifact_files.FRONT.exists(uri):
        return None
    return artifact_files.FRONT.load(uri, Front.from_document).within(uri)


def _image_report(document: Any) -> tuple[tuple[str, ...], int]:
    return tuple(document["warnings"]), len(document["undecodable"])


def _exports(document: Any) -> tuple[Export, ...]:
    return tuple(Export.from_document(row) for row in document)


def _epochs(document: Any) -> tuple[Mapping[str, Any], ...]:
    for figures in document:
        _require(figures, "epoch", "status", "entropy", "best")
        if figures["status"] == "COMPLETED" and spectrum.OBJECTIVE not in figures:
            _require(figures, "loss", "accuracy", "val_loss", "val_accuracy")
    return tuple(document)


def _require(figures: Mapping[str, Any], *names: str) -> None:
    missing = [name for name in names if name not in figures]
    if missing:
        raise KeyError(f"{', '.join(missing)} of an epoch")


def _search(
    distribution: Distribution,
    prediction: Prediction | None,
    epochs: tuple[Mapping[str, Any], ...],
    counts: Mapping[str, tuple[int, ...]],
    objective: str,
) -> Search:
    scored = objective == spectrum.OBJECTIVE
    if scored:
        warnings = spectrum.warnings(epochs)
    else:
        sizes = [len(operations) for operations in distribution.operations.values()]
        warnings = search_signal.warnings(epochs, counts["train"], counts["val"])
        warnings += search_signal.narrowing(epochs, sizes, counts["val"])
    warnings += payoffs.warnings(prediction)
    return Search(
        rule=distribution.rule,
        objective=objective,
        choices=tuple(
            Choice(name, tuple(operations), tuple(distribution.probabilities[name]))
            for name, operations in distribution.operations.items()
        ),
        epochs=epochs,
        movement=tuple((int(trial), probabilities) for trial, probabilities in distribution.history),
        best_epoch=None if distribution.best_trial is None else int(distribution.best_trial),
        best_score=distribution.best_score,
        payoff=payoffs.payoff(distribution) if scored else None,
        prediction=prediction,
        evaluated=tuple(
            tuple(sum(path.get(name) == operation for path, _ in distribution.evaluations) for operation in operations)
            for name, operations in distribution.operations.items()
        ),
        warnings=tuple(warnings),
    )


def _derivation(document: Any) -> Derivation:
    return Derivation(
        origin=document["origin"],
        source=document.get("source"),
        warnings=tuple(document.get("warnings", ())),
        **(
            {"limits": dict(budget["limits"]), "costs": Point.from_document(budget).costs}
            if (budget := document.get("budget"))
            else {}
        ),
    )


def _training(document: Any) -> Training:
    for figures in document["history"]:
        _require(figures, "epoch", "loss", "accuracy", "learning_rate")
    return Training(
        document["params"],
        document["macs"],
        document["epochs"],
        document["seconds"],
        tuple(document["history"]),
        document.get("other_seconds", 0.0),
    )
