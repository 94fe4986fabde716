"""A linear classifier on features: multinomial logistic regression, trained by L-BFGS."""

import dataclasses

import numpy as np
from scipy import optimize, special

_STRENGTHS = tuple(10.0**power for power in range(-5, 1))  # of the regularisation, tried on val
_ITERATIONS = 300


Images = tuple[np.ndarray, np.ndarray]
"""Features, float32 (images, features), and labels (images,)."""


@dataclasses.dataclass(frozen=True)
class LinearHead:
    """A trained linear classifier.

    Attributes:
        mean: The mean of each feature in `train`, float32 (features,).
        std: The standard deviation of each feature in `train`; 1 if it is 0.
        weights: float64 (features + 1, classes); the last row is the bias.
        strength: The strength of the regularisation.
    """

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    strength: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns the logits of images, float32 (images, classes), from their features (images, features)."""
        return _scores((features - self.mean) / self.std, self.weights)


def train_head(train: Images, val: Images, classes: int) -> LinearHead:
    """Returns a head that is trained on `train` with the regularisation that is best on `val`.

    Args:
        train: Features and labels of `train`.
        val: The same of `val`.
        classes: Number of classes.
    """
    mean, std, (features, labels), val = _scaled(train, val)
    weights = None
    heads = []
    for strength in sorted(_STRENGTHS, reverse=True):  # each fit starts from the solution of the next higher strength
        weights = _fit(features, labels, classes, strength, weights)
        heads.append((_loss(_scores(val[0], weights), val[1]), LinearHead(mean, std, weights, strength)))
    return min(heads, key=lambda pair: pair[0])[1]


def train_again(train: Images, val: Images, classes: int, strength: float) -> LinearHead:
    """Returns a head that is trained on `train` and `val` together; arguments as for `train_head`."""
    mean, std, *parts = _scaled(train, val)
    features, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return LinearHead(mean, std, _fit(features, labels, classes, strength, None), strength)


def _scaled(train: Images, val: Images):
    """Returns mean and standard deviation of the features of `train`, and both splits with scaled features."""
    mean, std = train[0].mean(axis=0), train[0].std(axis=0)
    std = np.where(std > 0, std, 1).astype(np.float32)
    return mean, std, *(((features - mean) / std, labels) for features, labels in (train, val))


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
