"""The executor of the LatencyTable component."""

import json
import os
import statistics
import time
from typing import Any

import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.types import artifact, artifact_utils

from models.costs import runtimes, table_process
from models.costs.latency_table import LatencyTable, Networks, unfit
from models.costs.networks import network_costs
from models.data import dataset_info
from models.runtime import artifact_files, checkpoint, progress
from models.search.budgeted import require_possible
from models.search.shape import Shape
from models.search_spaces.registry import create_space
from models.settings import Data, Derive, Space, Train


class Executor(base_executor.BaseExecutor):
    """Measures a table, or checks the one that was given, and writes it."""

    def Do(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Called by TFX; see the component for inputs, outputs and parameters.

        Raises:
            ValueError: The table that was given is for other networks.
            BudgetError: No architecture is within all limits of the budget.
        """
        began = time.monotonic()
        space_settings = Space.from_json(exec_properties["space"])
        space, derive = create_space(space_settings), Derive.from_json(exec_properties["derive"])
        training = json.loads(exec_properties["training"])
        train, data = Train.parse(training["train"], "train"), Data.parse(training["data"], "data")
        info = dataset_info.load(artifact_utils.get_single_uri(input_dict["examples"]))
        images = info.image_shape(data.image_size, data.channels), len(info.class_names)

        given = exec_properties.get("given")
        if given:
            table = LatencyTable.parse(given, "config.derive.latency_table")
            wrong = unfit(table, derive.latency_table, space, train, images)
            if wrong:
                raise ValueError(wrong)
        else:
            networks = Networks.of(space, train, *images).model_dump(mode="json")
            key = checkpoint.fingerprint(networks, derive.latency_backend, derive.latency_threads, runtimes.device())
            tf.io.gfile.makedirs(exec_properties["checkpoint_dir"])
            path = os.path.join(exec_properties["checkpoint_dir"], f"{key}.json")
            table_process.measure_elsewhere(
                path,
                space_settings,
                train,
                *images,
                backend=derive.latency_backend,
                threads=derive.latency_threads,
                seed=training["seed"],
            )
            table = LatencyTable.load(path, "config.derive.latency_table")
        error = statistics.median(map(abs, table.errors()))
        progress.say(
            f"latency table: {len(table.operations)} operations on {table.device.processor} ({table.backend}, threads: "
            f"{table.threads}); networks predicted with a median error of {error:.1%}"
        )
        if derive.budget.limits:
            costs = {cost.name: cost for cost in (*network_costs(space, train, *images), table.cost())}
            require_possible(Shape.of(space, derive.max_skip_connections), costs, derive.budget.limits)
        output = artifact_utils.get_single_instance(output_dict["latency_table"])
        artifact_files.LATENCY_TABLE.save(output.uri, table.model_dump(mode="json"))
        output.set_float_custom_property("median_error", error)
        output.set_float_custom_property("seconds", time.monotonic() - began)
