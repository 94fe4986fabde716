"""Commands that a run ends with, to be copied by a person."""

import os
import shlex


def serve(version: str, tag: str) -> str:
    """Returns the command that starts TF Serving with a pushed model.

    Args:
        version: The folder the Pusher made; its parent holds the model's versions, of which the newest is served.
        tag: Of the image tensorflow/serving.
    """
    base = os.path.abspath(os.path.dirname(version))
    return (
        "docker run --rm -p 8500:8500 -p 8501:8501 -e MODEL_NAME=mdenas \\\n"
        f"  -v {shlex.quote(base)}:/models/mdenas:ro tensorflow/serving:{tag}"
    )
