"""Runs a compiled pipeline several times on Kubeflow Pipelines v2, some of the runs at the same time."""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from pipeline.roots import UsageError
from pipeline.sweep.plan import Planned
from pipeline.terminal import say

_OVER = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_INGESTED = "ImageValidator"
_POLL = 30.0  # seconds


class Package:
    """A pipeline file of pipeline.kubeflow_runner.

    Attributes:
        name: The name of the pipeline.
        rule: The update rule of its search; the name of the pipeline if there is no search.
        fingerprint: A hash of the file.

    Args:
        path: The file.

    Raises:
        UsageError: The file cannot be read, or is another one.
    """

    def __init__(self, path: str):
        self.path = path
        try:
            with open(path, "rb") as file:
                content = file.read()
            self.spec = next(iter(yaml.safe_load_all(content)))
            self._parameters = self.spec["root"]["inputDefinitions"]["parameters"]
            self._training = json.loads(self._parameters["training"]["defaultValue"])
            self.name = self.spec["pipelineInfo"]["name"]
            search = self.spec["root"]["dag"]["tasks"].get("SupernetSearch")
            oracle = search["inputs"]["parameters"]["oracle"]["runtimeValue"]["constant"] if search else None
            self.rule = json.loads(oracle)["rule"] if oracle else self.name
        except OSError as error:
            raise UsageError(f"--package={path} cannot be read: {error.strerror}.") from None
        except (yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration):
            raise UsageError(
                f"--package={path} is no pipeline with the parameter `training`. Give a file that "
                "pipeline.kubeflow_runner wrote."
            ) from None
        self.fingerprint = hashlib.sha256(content).hexdigest()

    def arguments(self, seed: int) -> dict[str, Any]:
        """Returns the parameters of a run: search and training get the seed, and val is left out of the training."""
        training = copy.deepcopy(self._training)
        training["seed"] = seed
        training["train"]["hold_out_val"] = True
        # A pipeline without a search has no parameter `seed`.
        return {"training": json.dumps(training), **({"seed": seed} if "seed" in self._parameters else {})}


class Kubeflow:
    """The runs of a sweep on a cluster.

    Args:
        client: kfp.Client.
        package: The compiled pipeline.
        workers: Number of runs at the same time.
        submitted: Name of a run -> the ids of its runs on Kubeflow, the newest last; a mapping that `run` extends.
        wait: Waits for some seconds.
    """

    def __init__(
        self,
        client: Any,
        package: Package,
        workers: int,
        submitted: dict[str, list[str]],
        wait: Callable[[float], None] = time.sleep,
    ):
        self._client = client
        self._package = package
        self._workers = workers
        self.submitted = submitted
        self._wait = wait

    def run(self, runs: Sequence[Planned], ended: Callable[[Planned, str], None]) -> None:
        """Submits the runs that are not finished, and watches them to their end.

        The first run reads the images. The others are submitted when these are checked: Kubeflow then finds the
        examples in its cache.

        Args:
            runs: The runs.
            ended: Called when a run was submitted or has ended, with the reason of its failure; "" for none.
        """
        waiting = [run for run in runs if not self.is_finished(run)]
        live: list[Planned] = []
        for run in list(waiting):
            if self._state(run) not in (None, *_OVER):  # submitted by a sweep that was killed
                waiting.remove(run)
                live.append(run)
        while waiting or live:
            while waiting and len(live) < self._workers and (waiting[0] == runs[0] or self._ingested(runs[0], live)):
                run = waiting.pop(0)
                self._submit(run)
                live.append(run)
                ended(run, "")
            for run in list(live):
                state = self._state(run)
                if state in _OVER:
                    live.remove(run)
                    failure = "" if state == "SUCCEEDED" else f"Kubeflow's run {self.submitted[run.name][-1]}: {state}"
                    say(f"[{time.strftime('%H:%M:%S')}] {run.name}: {failure or 'finished'}")
                    ended(run, failure)
            if live:
                self._wait(_POLL)

    def is_finished(self, run: Planned) -> bool:
        """Returns whether a run has ended well."""
        return self._state(run) == "SUCCEEDED"

    def _submit(self, run: Planned) -> None:
        result = self._client.create_run_from_pipeline_package(
            self._package.path,
            arguments=self._package.arguments(run.seed),
            run_name=f"{self._package.name} {run.name}",
            experiment_name=f"{self._package.name}-sweep",
            enable_caching=True,
        )
        self.submitted.setdefault(run.name, []).append(result.run_id)
        say(f"[{time.strftime('%H:%M:%S')}] {run.name}: submitted as {result.run_id}")

    def _state(self, run: Planned) -> str | None:
        """Returns the state of a run's newest attempt; None if there is none."""
        ids = self.submitted.get(run.name)
        return str(self._client.get_run(ids[-1]).state) if ids else None

    def _ingested(self, first: Planned, live: Sequence[Planned]) -> bool:
        """Returns whether the examples of the first run are in Kubeflow's cache, or will not be."""
        if first not in live:
            return True
        details = self._client.get_run(self.submitted[first.name][-1]).run_details
        tasks = (details.task_details if details else None) or ()
        return any(task.display_name == _INGESTED and str(task.state) in ("SUCCEEDED", "SKIPPED") for task in tasks)

    def summary(self, run: Planned) -> dict[str, Any] | None:
        """Returns the figures of a finished run, as far as its artifacts can be read; None if it is not finished."""
        if not self.is_finished(run):
            return None
        model_run, evaluation = self._output(run, "Trainer", "model_run"), self._output(run, "Evaluator", "evaluation")
        examples = self._output(run, "TfdsExampleGen", "examples")
        if not model_run or not evaluation or not examples:
            return {}
        from components.report_gen.evaluation_results import read_evaluation
        from models.data import dataset_info
        from models.runtime import artifact_files

        training = artifact_files.TRAINING.load(model_run, dict)
        return {
            **{name: training[name] for name in ("val_accuracy", "params", "macs")},
            "test_accuracy": read_evaluation(evaluation, dataset_info.load(examples).class_names).accuracy,
        }

    def curves(self, run: Planned) -> Mapping[str, Sequence[float]]:
        """Returns the curves of a finished run, as far as its artifacts can be read."""
        from pipeline.sweep import page

        model_run = self._output(run, "Trainer", "model_run")
        return page.curves(model_run, self._output(run, "SupernetSearch", "results")) if model_run else {}

    def _output(self, run: Planned, task: str, name: str) -> str | None:
        """Returns the folder of an output; None if it cannot be read.

        Kubeflow's cache may have taken it from an earlier attempt or, in the case of the examples, from another run.
        """
        import tensorflow as tf

        root = self._package.spec["defaultPipelineRoot"].rstrip("/")
        others = [attempt for attempts in self.submitted.values() for attempt in attempts]
        shared = others if task == "TfdsExampleGen" else []
        for attempt in (*reversed(self.submitted.get(run.name, [])), *shared):
            for inner in ("", "*/"):  # releases of Kubeflow differ
                for folder in tf.io.gfile.glob(f"{root}/*/{attempt}/{task}/{inner}{name}"):
                    return folder
        return None
