"""The network of an architecture with what its training needs: auxiliary loss, label smoothing, recipe."""

import keras
import tensorflow as tf

from models.architectures.genotype import Genotype
from models.runtime import setup
from models.search_spaces.registry import create_space, network_options
from models.settings import Settings, Train
from models.training.distillation import Distillation
from models.training.optimizer import SGD


def build_network(
    settings: Settings,
    architecture: Genotype,
    image_shape: tuple[int, int, int],
    classes: int,
) -> keras.Model:
    """Returns the network of a genotype as `config.train` describes it, with fresh weights."""
    space = create_space(settings.space)
    return space.network(architecture, image_shape, classes, **network_options(space, settings.train))


class Classifier(keras.Model):
    """A network with its training loss: that of the logits plus a weighted one of the auxiliary head's.

    With a teacher, each of the two losses is that of the distillation, and `y` is a pair: (labels, scores).

    Args:
        network: Called on float32 images (batch, height, width, channels), it returns logits (batch, classes), or the
            pair (logits, auxiliary logits) in training when it has an auxiliary head.
        auxiliary_weight: Weight of the auxiliary loss (0.4 in the released run script).
        distillation: How the network learns from a teacher; None without one.
    """

    def __init__(self, network: keras.Model, auxiliary_weight: float, distillation: Distillation | None = None):
        super().__init__()
        self.network = network
        self.auxiliary_weight = auxiliary_weight
        self.distillation = distillation

    def call(self, images, training=False):
        return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        logits, *auxiliary = y_pred if isinstance(y_pred, tuple) else (y_pred,)
        loss = self._loss(x, y, logits, sample_weight, training)
        for logits in auxiliary:
            loss += self.auxiliary_weight * self._loss(x, y, logits, sample_weight, training)
        return loss

    def _loss(self, x, y, logits, sample_weight, training):
        if self.distillation is None:
            return super().compute_loss(x, y, logits, sample_weight, training)
        labels, scores = y
        loss = super().compute_loss(x, labels, logits, sample_weight, training)
        return self.distillation.loss(loss, scores, logits)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        labels = y[0] if isinstance(y, tuple) else y
        return super().compute_metrics(x, labels, y_pred[0] if isinstance(y_pred, tuple) else y_pred, sample_weight)


def compile_classifier(classifier: Classifier, recipe: Train) -> None:
    """Gives a classifier the optimizer, loss and metrics of `config.train`.

    Weight decay is PyTorch's, part of the gradient (optimizer.py). Batch norm's scale and offset are left out of it
    unless `decay_batch_norm` is set; DARTS's code, and with it the released one, decays them too.
    """
    classifier.compile(
        optimizer=SGD(
            learning_rate=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            exclude=() if recipe.decay_batch_norm else ("gamma", "beta"),
            global_clipnorm=recipe.gradient_clip or None,
            use_ema=recipe.ema > 0,
            ema_momentum=recipe.ema or 0.99,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=setup.use_xla(recipe.xla),
    )


def prepare(classifier: Classifier, image_shape: tuple[int, int, int], classes: int) -> None:
    """Makes all variables of a compiled classifier, its optimizer and its metrics, and its `train_function`."""
    classifier.build((None, *image_shape))
    classifier.optimizer.build(classifier.trainable_variables)
    # Metrics make their variables when they are first used; a checkpoint's have to have a place.
    classifier.compute_metrics(None, *tf.zeros((2, 1, classes)))
    classifier.make_train_function()
