"""The learning rate of the final training, epoch by epoch."""

import math
from collections.abc import Callable

from models.settings import Train


def learning_rate(recipe: Train) -> Callable[[int], float]:
    """Returns the learning rate of each epoch (0-based), constant within it as in the released code.

    `cosine`: learning_rate * (1 + cos(pi * epoch / epochs)) / 2, down to 0. `exponential`: learning_rate *
    decay_rate ** epoch. The first `warmup_epochs` rise linearly to it.
    """
    schedules = {
        "cosine": lambda epoch: (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2,
        "exponential": lambda epoch: recipe.decay_rate**epoch,
    }

    def at(epoch: int) -> float:
        warmup = min(1.0, (epoch + 1) / (recipe.warmup_epochs + 1))
        return recipe.learning_rate * schedules[recipe.schedule](epoch) * warmup

    return at
