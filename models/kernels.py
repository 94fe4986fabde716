"""One setting for the tuned TensorFlow paths of models/layers.py."""

_tuned = True


def set_tuned(tuned: bool) -> None:
    """Turns all tuned paths on or off."""
    global _tuned
    _tuned = tuned
