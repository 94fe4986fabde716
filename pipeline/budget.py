"""The seconds of a run beside those that its budget planned."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.run_record import Run


def account(run: Run, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the seconds of each stage, planned and used; None for a run without a budget.

    A stage counts its work in earlier, interrupted runs, too. The work of an Evaluator, a Pusher or a ReportGen that
    was interrupted itself is not known; these stages are short.

    Args:
        run: The run.
        training: The Trainer's document TRAINING.

    Returns:
        `minutes`, `planned_s` (of the whole run, without the reserve, before the search), `used_s`, and `stages`: a
        list of `stage`, `planned_s` (before the search), `corrected_s` (before the training) and `used_s`.
    """
    from models.planning import plan
    from models.planning.plan import Plan
    from models.runtime import artifact_files

    if "TrainingPlanner" not in run.executions:
        return None
    corrected = artifact_files.PLAN.load(run.outputs("TrainingPlanner")["plan"].uri, Plan.from_document)
    if not corrected.minutes:
        return None
    used = {
        **{stage: corrected.seconds[stage] for stage in corrected.over},
        plan.TRAINING: training["seconds"] + training["other_seconds"],
        plan.BASELINES: _baselines(run),
        plan.EVALUATION: sum(map(run.seconds_of_work, ("Evaluator", "InfraValidator", "BulkInferrer"))),
        plan.REPORT: sum(map(run.seconds_of_work, ("Pusher", "ReportGen"))),
    }
    stages = [
        {
            "stage": stage,
            "planned_s": corrected.first[stage],
            "corrected_s": corrected.seconds[stage],
            "used_s": round(used.get(stage, 0.0), 1),
        }
        for stage in plan.STAGES
        if stage in corrected.first
    ]
    return {
        "minutes": corrected.minutes,
        "planned_s": round(sum(row["planned_s"] for row in stages if row["stage"] != plan.RESERVE), 1),
        "used_s": round(sum(used.values()), 1),
        "stages": stages,
    }


def _baselines(run: Run) -> float:
    """Returns the seconds of the baselines. Those of their trainings also count interrupted trainings."""
    from models.baselines.verdict import Comparison
    from models.runtime import artifact_files

    outputs = run.outputs("Baselines")
    if not outputs:
        return 0.0
    found = artifact_files.BASELINES.load(outputs["comparison"].uri, Comparison.from_document)
    trained = sum(figures.cost.seconds for figures in found.baselines if figures.cost.epochs)
    return max(run.seconds_of_work("Baselines"), trained)


def lines(account: Mapping[str, Any] | None) -> Iterator[str]:
    """Yields an account as the terminal shows it."""
    if account is None:
        return
    yield f"budget          {account['minutes']:g} minutes, {60 * account['minutes']:.0f} s"
    yield f"                {account['used_s']:.0f} s used"
    yield f"                {'':<16}{'planned':>9}{'corrected':>11}{'used':>7}"
    for row in account["stages"]:
        figures = f"{row['planned_s']:>9.0f}{row['corrected_s']:>11.0f}{row['used_s']:>7.0f}"
        yield f"                {row['stage']:<16}{figures}"
