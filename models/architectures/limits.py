"""How small the images of a network may be. Keras-free, so that configs are checked at once."""

# How many times each network of cells halves the sides of its images.
HALVINGS = {"cifar": 2, "imagenet": 5, "nasbench201": 2}

# Pixels a side that leave 8 and 7 where the auxiliary head starts.
SMALLEST_WITH_AUXILIARY = {"cifar": 29, "imagenet": 193}


def smallest(network: str, auxiliary: bool) -> int:
    """Returns the smallest side, in pixels, of the images of a network of cells.

    Args:
        network: "cifar", "imagenet" or "nasbench201".
        auxiliary: whether it gets an auxiliary head, if it can have one.
    """
    auxiliary = auxiliary and network in SMALLEST_WITH_AUXILIARY
    return SMALLEST_WITH_AUXILIARY[network] if auxiliary else 2 ** HALVINGS[network]
