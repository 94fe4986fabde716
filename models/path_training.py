"""Training and evaluating sampled architectures (paths) of a supernet.

Every architecture gets a program of its own: a `tf.function` in which the sampled operations alone
exist, so that a step costs what it would cost in a network without any choice, whatever the number
of operations in the space. Weights and their momentum are shared by all programs. Programs of the
architectures used last are kept, so that a repeated one is not traced again.

Gradients are taken by `tf.gradients` inside of the function and not by a tape: gradients that
`models/kernels.py` registers are then used, and a dropped program leaves nothing behind
(`tf.custom_gradient` would keep every traced graph alive for good).
"""

import collections
import contextlib
import math

import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from models import kernels


class PathTrainer:
    """Trains one sampled architecture at a time on the weights that all of them share.

    A step is that of `models.optimizer.SGD` on the weights that the path uses and that its loss
    depends on. No other weight or momentum moves; weights that a sampled "none" cuts off from the
    output have no gradient and stay as they are, too.

    Under a `tf.distribute` strategy with several replicas, whose scope the supernet and this object
    must have been made in, a batch is shared out evenly and the step is that of the whole batch.

    Args:
        supernet: `models.supernet.Supernet`, built.
        momentum: In [0, 1). Default 0.9.
        weight_decay: Factor of the weights that is added to their gradients. Default 3e-4.
        gradient_clip: Largest norm of all gradients together; None or 0 for no clip. Default 5.
        cache_size: Number of architectures whose programs are kept, at least 1. Default 4.

    Example:
        trainer = PathTrainer(supernet)
        trainer.train_epoch(path, batches, learning_rate=0.025)   # {"loss": ..., "accuracy": ...}
        trainer.evaluate(path, validation_batches)                # {"loss": ..., "accuracy": ...}
    """

    def __init__(self, supernet, *, momentum=0.9, weight_decay=3e-4, gradient_clip=5.0, cache_size=4, jit=False):
        if cache_size < 1:
            raise ValueError(f"cache_size={cache_size}; at least one program must be kept.")
        self.supernet = supernet
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.gradient_clip = gradient_clip
        if jit and not tf.config.list_physical_devices("GPU"):
            raise ValueError("jit=True: XLA is for GPUs; on the CPU it is many times slower.")
        self.cache_size = cache_size
        self.jit = jit
        self._programs = collections.OrderedDict()
        self._velocities = {
            id(variable): tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
            for variable in supernet.trainable_variables
        }

    def train_epoch(self, path, batches, learning_rate, progress=None):
        """Trains the sampled architecture on each batch once.

        Args:
            path: The sampled architecture: choice name -> operation name.
            batches: `tf.data.Dataset` or other sized iterable of (images (batch, height, width,
                channels) float32, labels (batch,) int32).
            learning_rate: Float, for all steps.
            progress: Called after every step with (steps done, steps in all or None, loss).

        Returns:
            {"loss": mean cross-entropy in nats, "accuracy": share in [0, 1]} over the images, as
            they were when the steps saw them. When a loss is not finite, the epoch ends there, with
            that loss: whoever called decides what to do about it (see `rollback`).
        """
        step = self._program(path).train
        rate = tf.constant(learning_rate, tf.float32)
        return self._run(lambda images, labels: step(images, labels, rate), batches, progress)

    def evaluate(self, path, batches, progress=None):
        """Loss and accuracy of the sampled architecture, each batch by its own statistics.

        Arguments and result are those of `train_epoch`; nothing is changed.
        """
        return self._run(self._program(path).evaluate, batches, progress)

    def snapshot(self, path):
        """What training `path` can change, copied; for `rollback`."""
        return [
            (variable, tf.identity(variable))
            for weight in self.supernet.path_variables(path)
            for variable in (weight.value, self.velocity(weight))
        ]

    def rollback(self, snapshot):
        """Puts the weights and momentum of a `snapshot` back."""
        for variable, value in snapshot:
            variable.assign(value)

    def state(self):
        """All weights and momentum by name, as NumPy arrays; for `restore`, also elsewhere."""
        return {name: variable.numpy() for name, variable in self._named_variables()}

    def restore(self, state):
        """Takes over a `state`.

        Raises:
            ValueError: the state belongs to a supernet of another shape.
        """
        named = dict(self._named_variables())
        if named.keys() != state.keys():
            different = sorted(named.keys() ^ state.keys())
            raise ValueError(
                f"the state has {len(state)} variables, the supernet {len(named)}; first "
                f"difference: {different[0]}. It was saved with another search space or size."
            )
        for name, variable in named.items():
            if tuple(variable.shape) != state[name].shape:
                raise ValueError(
                    f"{name} has shape {state[name].shape} in the state and "
                    f"{tuple(variable.shape)} in the supernet. It was saved with another search "
                    "space or size."
                )
        for name, variable in named.items():
            variable.assign(state[name])

    def velocity(self, weight):
        """The momentum variable of a trainable weight."""
        return self._velocities[id(weight)]

    def _named_variables(self):
        # Numbers, as the automatic names of Keras layers differ from process to process.
        for i, variable in enumerate(self.supernet.variables):
            yield f"weights/{i:05d}", variable.value
        for i, variable in enumerate(self.supernet.trainable_variables):
            yield f"momentum/{i:05d}", self.velocity(variable)

    def _program(self, path):
        key = tuple(sorted(path.items()))
        if key not in self._programs:
            while len(self._programs) >= self.cache_size:
                self._programs.popitem(last=False)
                # Or the dropped function's kernels would stay.
                eager_context.context().clear_kernel_cache()
            self._programs[key] = _Program(self, dict(path))
        self._programs.move_to_end(key)
        return self._programs[key]

    def _run(self, step, batches, progress):
        steps = len(batches) if hasattr(batches, "__len__") else None
        losses, corrects, sizes = [], [], []
        with _without_graph_optimizer():
            for images, labels in batches:
                loss, correct = step(images, labels)
                losses.append(loss)
                corrects.append(correct)
                sizes.append(len(labels))
                if progress:
                    progress(len(losses), steps, float(loss))
                # Looked at one step late, so that a GPU always has its next step waiting.
                if len(losses) > 1 and not math.isfinite(losses[-2]):
                    break
        if not losses:
            raise ValueError("There is no batch to run on; is a split of the data empty?")
        return {
            "loss": sum(float(loss) * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes),
            "accuracy": sum(int(correct) for correct in corrects) / sum(sizes),
        }


class _Program:
    """The traced steps of one architecture."""

    def __init__(self, trainer, path):
        self._trainer = trainer
        self._path = path
        self._variables = trainer.supernet.path_variables(path)
        images, labels = tf.TensorSpec((None, *trainer.supernet.image_shape)), tf.TensorSpec((None,), tf.int32)
        options = {"autograph": False, "jit_compile": trainer.jit or None}
        # Training batches have one size: shapes that are known make fewer operations. Those of an evaluation differ.
        self.train = tf.function(self._train, **options)
        self.evaluate = tf.function(self._evaluate, input_signature=[images, labels], **options)

    def _train(self, images, labels, learning_rate):
        with kernels.registered_gradients():
            loss, correct = self._forward(images, labels, training=True)
        gradients = tf.gradients(loss, [variable.value for variable in self._variables])
        self._apply(gradients, learning_rate)
        return loss, correct

    def _evaluate(self, images, labels):
        return self._forward(images, labels, training=False)

    def _forward(self, images, labels, training):
        """The mean loss and the number of right answers."""
        logits = self._trainer.supernet(images, path=self._path, training=training)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        right = tf.argmax(logits, axis=-1, output_type=tf.int32) == labels
        return tf.reduce_mean(losses), tf.math.count_nonzero(right, dtype=tf.int32)

    def _apply(self, gradients, learning_rate):
        """The step of `models.optimizer.SGD`, with as few operations to trace as can be."""
        trainer = self._trainer
        scale = tf.constant(1.0)
        if trainer.gradient_clip:
            scale = tf.minimum(1.0, trainer.gradient_clip / tf.linalg.global_norm(gradients))
        decay, momentum = tf.constant(trainer.weight_decay), tf.constant(trainer.momentum)
        for gradient, variable in zip(gradients, self._variables, strict=True):
            if gradient is not None:
                tf.raw_ops.ResourceApplyMomentum(
                    var=variable.value.handle,
                    accum=trainer.velocity(variable).handle,
                    lr=learning_rate,
                    grad=scale * gradient + decay * variable.value,
                    momentum=momentum,
                )


@contextlib.contextmanager
def _without_graph_optimizer():
    """Grappler costs seconds per program and makes its steps no faster (on a CPU)."""
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        restored = {"disable_meta_optimizer": options.get("disable_meta_optimizer", False)}
        tf.config.optimizer.set_experimental_options(restored)
