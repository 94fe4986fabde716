"""A linear classifier on features: multinomial logistic regression, trained by L-BFGS."""

import numpy as np
from scipy import optimize, special

_STRENGTHS = tuple(10.0**power for power in range(-5, 1))  # of the regularisation, tried on val
_ITERATIONS = 300


def train_and_predict(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    classes: int,
) -> tuple[np.ndarray, float]:
    """Trains on train and val with the regularisation that is best on val, and classifies the test images.

    Args:
        train: Features of `train`, float32 (images, features), and labels (images,).
        val: The same of `val`.
        test: Features of the test images.
        classes: Number of classes.

    Returns:
        The class of each test image, int32 (images,), and the strength of the regularisation.
    """
    mean, std = train[0].mean(axis=0), train[0].std(axis=0)
    std = np.where(std > 0, std, 1).astype(np.float32)
    train, val = (((features - mean) / std, labels) for features, labels in (train, val))
    weights = None
    losses = {}
    for strength in sorted(_STRENGTHS, reverse=True):  # each fit starts from the solution of the next higher strength
        weights = _fit(*train, classes, strength, weights)
        losses[strength] = _loss(_scores(val[0], weights), val[1])
    best = min(losses, key=lambda strength: losses[strength])
    features, labels = (np.concatenate(parts) for parts in zip(train, val, strict=True))
    weights = _fit(features, labels, classes, best, None)
    return _scores((test - mean) / std, weights).argmax(axis=1).astype(np.int32), best


def _fit(features: np.ndarray, labels: np.ndarray, classes: int, strength: float, start: np.ndarray | None):
    """Returns the weights, float64 (features + 1, classes); the last row is the bias."""
    wanted = np.eye(classes, dtype=np.float32)[labels]
    shape = (features.shape[1] + 1, classes)

    def objective(flat):
        weights = flat.reshape(shape)
        scores = _scores(features, weights)
        error = (special.softmax(scores, axis=1) - wanted) / len(labels)
        gradient = np.concatenate([features.T @ error, error.sum(axis=0, keepdims=True)]).astype(np.float64)
        gradient[:-1] += strength * weights[:-1]
        return _loss(scores, labels) + strength / 2 * np.sum(weights[:-1] ** 2), gradient.ravel()

    start = np.zeros(shape) if start is None else start
    found = optimize.minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "gtol": 1e-6}
    )
    return found.x.reshape(shape)


def _scores(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return features @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32)


def _loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean cross-entropy in nats."""
    return float(-np.mean(special.log_softmax(scores.astype(np.float64), axis=1)[np.arange(len(labels)), labels]))
