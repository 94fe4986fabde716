"""Commands at the end of a run, which a person can copy."""

import os
import shlex


def serve(version: str, tag: str) -> str:
    """Returns the command that starts TF Serving with a pushed model.

    Args:
        version: The folder that the Pusher created. Its parent contains all versions; the newest version is served.
        tag: The tag of the image tensorflow/serving.
    """
    base = os.path.abspath(os.path.dirname(version))
    return (
        "docker run --rm -p 8500:8500 -p 8501:8501 -e MODEL_NAME=mdenas \\\n"
        f"  -v {shlex.quote(base)}:/models/mdenas:ro tensorflow/serving:{tag}"
    )


def train(config: str, root: str, genotype: str, from_supernet: bool) -> str:
    """Returns the command that trains a genotype without a search.

    Args:
        config: The file of the config.
        root: The folder of the new run.
        genotype: The JSON file of the genotype.
        from_supernet: `config.train.from_supernet` in the config. The command switches it off: without a search there
            is no supernet.
    """
    return (
        f"python -m pipeline.local_runner --config={shlex.quote(config)} --root={shlex.quote(root)} \\\n"
        f"  --config.architecture={shlex.quote(genotype)}"
        + (" \\\n  --config.train.from_supernet=False" if from_supernet else "")
    )
