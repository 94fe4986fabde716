"""The executor of the Trainer component."""

from typing import Any

from tfx.components.trainer import executor, fn_args_utils
from tfx.types import artifact, artifact_utils


class Executor(executor.GenericExecutor):
    """Calls `run_fn` as TFX's Trainer does, and tells it where the additional inputs are."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> fn_args_utils.FnArgs:
        arguments = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        for name in ("soft_labels", "supernet"):
            if input_dict.get(name):
                arguments.custom_config[name] = artifact_utils.get_single_uri(input_dict[name])
        return arguments
