"""How small the images of a network may be. Keras-free, so that configs are checked at once."""

# How many times each network of a cell space halves the sides of its images.
HALVINGS = {"cifar": 2, "imagenet": 5, "nasbench201": 2}

# Pixels a side that leave 8 and 7 where the auxiliary head starts.
SMALLEST_WITH_AUXILIARY = {"cifar": 29, "imagenet": 193}


def smallest(network: str, auxiliary: bool) -> int:
    """Returns the smallest side, in pixels, of the images of a network of a cell space.

    Args:
        network: "cifar" or "imagenet".
        auxiliary: whether it has an auxiliary head.
    """
    return SMALLEST_WITH_AUXILIARY[network] if auxiliary else 2 ** HALVINGS[network]
