"""The final training: `run_fn` of TFX's stock Trainer.

It builds the derived network, trains it from fresh weights on every split it is given (train + val) by the recipe of
the config, and exports it for serving. An interrupted training goes on where it was, in the middle of an epoch too.
"""

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from models import search_spaces, serving
from models.architectures.genotype import Genotype, genotype_from_dict
from models.data import dataset
from models.data.image_format import ImageFormat
from models.networks import profiling
from models.optimizer import SGD
from models.runtime import checkpoint, setup
from models.runtime.progress import Progress


def run_fn(fn_args) -> None:
    """Trains and exports; called by the Trainer's executor.

    Args:
        fn_args: TFX's FnArgs. `hyperparameters` is {"genotype": ...} as the ArchitectureDeriver writes it;
            `custom_config` holds the config's sections `train`, `data`, `space` and `serving`, and `seed`,
            `deterministic`, `tuned_kernels` and `checkpoint_dir`.

    Raises:
        GenotypeError: The genotype is not valid.
        ValueError: The data or the settings do not fit the network.
    """
    config = ml_collections.ConfigDict(fn_args.custom_config)
    recipe = config.train
    setup.set_up(
        seed=config.seed,
        deterministic=config.deterministic,
        tuned_kernels=config.tuned_kernels,
        mixed_precision=recipe.mixed_precision,
    )
    architecture = genotype_from_dict(fn_args.hyperparameters["genotype"])
    data = dataset.load_examples(fn_args.train_files, config.data)
    strategy = setup.strategy()
    with strategy.scope():
        network = build_network(config, architecture, data.image_shape, len(data.class_names))
        classifier = Classifier(network, recipe.auxiliary_weight)
        compile_classifier(classifier, recipe)
    settings = config.to_dict()
    checkpoints = settings.pop("checkpoint_dir")  # has no effect on what comes out: a root may be moved
    directory = os.path.join(checkpoints, checkpoint.fingerprint(architecture.to_dict(), settings, data.fingerprint))
    trained = train(classifier, data, recipe, config.seed, strategy, directory, fn_args.model_run_dir)

    serving.export(
        network,
        fn_args.serving_model_dir,
        image_format=ImageFormat.from_settings(data.image_shape, config.data),
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
        top_k=config.serving.top_k,
    )
    profile = profiling.profile(network)
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, "training.json"), "w") as file:
        json.dump(
            {
                "genotype": architecture.to_dict(),
                "params": profile.params,
                "macs": profile.macs,
                "epochs": recipe.epochs,
                "seconds": trained.seconds,
                "history": trained.history,
            },
            file,
            indent=2,
        )


def build_network(
    config: ml_collections.ConfigDict,
    architecture: Genotype,
    image_shape: tuple[int, int, int],
    classes: int,
) -> keras.Model:
    """Returns the network of a genotype as `config.train` describes it, with fresh weights."""
    recipe = config.train
    space = search_spaces.create(config.space.to_dict())
    settings = {**recipe.to_dict(), "auxiliary": recipe.auxiliary_weight > 0}
    return space.network(architecture, image_shape, classes, **search_spaces.wanted(space.network, settings))


class Classifier(keras.Model):
    """A network with its training loss: that of the logits plus a weighted one of the auxiliary head's.

    Args:
        network: Called on float32 images (batch, height, width, channels), it returns logits (batch, classes), or the
            pair (logits, auxiliary logits) in training when it has an auxiliary head.
        auxiliary_weight: Weight of the auxiliary loss (0.4 in the released run script).
    """

    def __init__(self, network: keras.Model, auxiliary_weight: float):
        super().__init__()
        self.network = network
        self.auxiliary_weight = auxiliary_weight

    def call(self, images, training=False):
        return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        logits, *auxiliary = y_pred if isinstance(y_pred, tuple) else (y_pred,)
        loss = super().compute_loss(x, y, logits, sample_weight, training)
        for logits in auxiliary:
            loss += self.auxiliary_weight * super().compute_loss(x, y, logits, sample_weight, training)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred[0] if isinstance(y_pred, tuple) else y_pred, sample_weight)


def compile_classifier(classifier: Classifier, recipe: ml_collections.ConfigDict) -> None:
    """Gives a classifier the optimizer, loss and metrics of `config.train`.

    Weight decay is PyTorch's, part of the gradient (models/optimizer.py). Batch norm's scale and offset are left out of
    it unless `decay_batch_norm` is set; DARTS's code, and with it the released one, decays them too.
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


def learning_rate(recipe: Mapping[str, Any]) -> Callable[[int], float]:
    """Returns the learning rate of each epoch (0-based), constant within it as in the released code.

    `cosine`: learning_rate * (1 + cos(pi * epoch / epochs)) / 2, down to 0. `exponential`: learning_rate *
    decay_rate ** epoch. The first `warmup_epochs` rise linearly to it.

    Raises:
        ValueError: Unknown schedule.
    """
    schedules = {
        "cosine": lambda epoch: (1 + math.cos(math.pi * epoch / recipe["epochs"])) / 2,
        "exponential": lambda epoch: recipe["decay_rate"] ** epoch,
    }
    if recipe["schedule"] not in schedules:
        raise ValueError(f"config.train.schedule is {recipe['schedule']!r}; allowed are {sorted(schedules)}.")

    def at(epoch: int) -> float:
        warmup = min(1.0, (epoch + 1) / (recipe["warmup_epochs"] + 1))
        return recipe["learning_rate"] * schedules[recipe["schedule"]](epoch) * warmup

    return at


@dataclasses.dataclass
class Position:
    """Where a training is.

    Attributes:
        epoch: The next to come, 0-based.
        step: The next to come in that epoch.
        seconds: Spent so far, earlier runs of an interrupted training included.
        history: Per finished epoch `epoch`, `loss`, `accuracy` (means over the epoch's batches) and `learning_rate`.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def train(
    classifier: Classifier,
    data: dataset.ImageDataset,
    recipe: ml_collections.ConfigDict,
    seed: int,
    strategy: tf.distribute.Strategy,
    checkpoint_dir: str,
    log_dir: str,
) -> Position:
    """Trains a compiled classifier by the recipe, from its newest checkpoint on.

    Args:
        classifier: Compiled; its weights are as they will be used or are replaced by the checkpoint's.
        data: Decoded or decodable training images.
        recipe: `config.train`.
        seed: Of data order and augmentation, which depend on it, the epoch and the step alone.
        strategy: What the classifier was built under.
        checkpoint_dir: This training's own checkpoints.
        log_dir: TensorBoard scalars per epoch.

    Returns:
        Where the training ended.

    Raises:
        ValueError: The loss is not finite.
    """
    prepare(classifier, data.image_shape, len(data.class_names))
    position = _restore(classifier, checkpoint_dir)
    writer = tf.summary.create_file_writer(log_dir)
    progress = Progress("train", recipe.epochs, position.epoch)
    rates = learning_rate(recipe)
    steps = math.ceil(len(data) / recipe.batch_size)
    pace = _Pace(recipe.checkpoint_seconds)
    began = time.monotonic()
    history = list(position.history)

    def reached(epoch, step):
        return Position(epoch, step, position.seconds + time.monotonic() - began, history)

    for epoch in range(position.epoch, recipe.epochs):
        first = position.step if epoch == position.epoch else 0
        if first == 0:
            classifier.reset_metrics()  # else they go on from the checkpoint's
        classifier.optimizer.learning_rate = rates(epoch)
        if getattr(classifier.network, "drop_path_probability", None) is not None:
            classifier.network.drop_path_probability.assign(recipe.drop_path * epoch / recipe.epochs)
        batches = dataset.batches(
            data,
            recipe.batch_size,
            seed=seed,
            epoch=epoch,
            start_step=first,
            augment=dataset.Augmentation(recipe.pad, recipe.flip, recipe.cutout),
            one_hot=True,
        )
        iterator = iter(strategy.experimental_distribute_dataset(batches))
        for step in range(first, steps):
            figures = classifier.train_function(iterator)
            progress.step(step + 1, steps, figures["loss"])
            if step + 1 < steps and pace.due():
                _require_finite(figures, epoch)
                with pace.saving():
                    _save(classifier, checkpoint_dir, reached(epoch, step + 1), epoch * steps + step + 1)
        figures = {name: float(value) for name, value in figures.items()}
        _require_finite(figures, epoch)
        figures["learning_rate"] = rates(epoch)
        history.append({"epoch": epoch, **figures})
        with writer.as_default(step=epoch):
            for name, value in figures.items():
                tf.summary.scalar(f"train/{name}", value)
        progress.epoch(epoch, **figures)
        if pace.due():
            with pace.saving():
                _save(classifier, checkpoint_dir, reached(epoch + 1, 0), (epoch + 1) * steps)
    writer.close()
    classifier.optimizer.finalize_variable_values(classifier.trainable_variables)
    return reached(recipe.epochs, 0)


class _Pace:
    """When a checkpoint is due: as soon as saving takes a twentieth of the time, or else `seconds` after the last."""

    def __init__(self, seconds: float):
        self._seconds, self._wait = seconds, 0.0
        self._saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved > self._wait

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._wait = min(self._seconds, 20 * (self._saved - began))


def _require_finite(figures: Mapping[str, Any], epoch: int) -> None:
    # The mean over the epoch so far, so that no earlier step's loss is overlooked.
    loss = float(figures["loss"])
    if not math.isfinite(loss):
        raise ValueError(
            f"The training loss is {loss} in epoch {epoch + 1}. Lower config.train.learning_rate, set "
            "config.train.gradient_clip, or train in float32 (config.train.mixed_precision='')."
        )


def _variables(classifier: Classifier) -> list[keras.Variable]:
    # Seeds of dropout and drop path are among the classifier's variables; the epoch's running metrics are not.
    return [*classifier.variables, *classifier.metrics_variables, *classifier.optimizer.variables]


def _save(classifier: Classifier, directory: str, position: Position, step: int) -> None:
    arrays = {str(index): np.asarray(variable) for index, variable in enumerate(_variables(classifier))}
    checkpoint.save(directory, step, arrays, dataclasses.asdict(position))


def _restore(classifier: Classifier, directory: str) -> Position:
    found = checkpoint.latest(directory)
    if found is None:
        return Position()
    for index, variable in enumerate(_variables(classifier)):
        variable.assign(found.arrays[str(index)])
    return Position(**found.state)
