"""The seconds of a run beside those that its budget planned."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.run_record import Run


def account(run: Run, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the seconds of each stage, planned and used; None for a run without a budget.

    Stages that can be interrupted count the seconds of earlier runs, too.

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
    took = run.seconds()
    used = {
        **{stage: corrected.seconds[stage] for stage in corrected.over},
        plan.TRAINING: training["seconds"] + training["other_seconds"],
        plan.BASELINES: took.get("Baselines", 0.0),
        plan.EVALUATION: sum(took.get(node, 0.0) for node in ("Evaluator", "InfraValidator", "BulkInferrer")),
        plan.REPORT: took.get("Pusher", 0.0) + took["ReportGen"],
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
