"""Training and evaluating sampled architectures (paths) of a supernet.

Every architecture gets a program of its own: a `tf.function` in which the sampled operations alone
exist, so that a step costs what it would cost in a network without any choice, whatever the number
of operations in the space. Weights and their momentum are shared by all programs. Programs of the
architectures used last are kept, so that a repeated one is not traced again.

Gradients are taken by `tf.gradients` inside of the function and not by a tape: gradients that
`models/networks/kernels.py` registers are then used, and a dropped program leaves nothing behind
(`tf.custom_gradient` would keep every traced graph alive for good).
"""

import collections
import contextlib
import math

import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from models.networks import batch_statistics, replicas, traced
from models.runtime import tuning

INITIAL_LOSS_SCALE = 2.0**15
LOSS_SCALE_GROWTH_STEPS = 2000


class PathTrainer:
    """Trains one sampled architecture at a time on the weights that all of them share.

    A step is that of `models.training.optimizer.SGD` on the weights that the path uses and that its loss
    depends on. No other weight or momentum moves; weights that a sampled "none" cuts off from the
    output have no gradient and stay as they are, too.

    Made, like its supernet, in the scope of a `tf.distribute.MirroredStrategy`, it shares each batch out over the
    replicas. All compute the same architecture, batch norm takes the statistics of the whole batch, and the step is the
    one that a single device would make, but for rounding.

    A supernet of the policy `mixed_float16` gets a dynamic loss scale: halved, and the step left out, when a gradient
    is not finite; doubled after 2000 steps without that.

    Args:
        supernet: `models.networks.supernet.Supernet`, built.
        momentum: In [0, 1). Default 0.9.
        weight_decay: Factor of the weights that is added to their gradients. Default 3e-4.
        gradient_clip: Largest norm of all gradients together; None or 0 for no clip. Default 5.
        cache_size: Number of architectures whose programs are kept, at least 1. Default 4.

    Example:
        trainer = PathTrainer(supernet)
        trainer.train_epoch(path, batches, learning_rate=0.025)   # {"loss": ..., "accuracy": ...}
        trainer.evaluate(path, validation_batches, training_batches)   # {"loss": ..., "accuracy": ...}
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
        self.strategy = tf.distribute.get_strategy()
        if jit and self.strategy.num_replicas_in_sync > 1:
            raise ValueError("jit=True: not with several replicas.")
        self.loss_scale = self.steps_at_scale = None
        if supernet.compute_dtype == "float16":
            self.loss_scale = tf.Variable(INITIAL_LOSS_SCALE, trainable=False)
            self.steps_at_scale = tf.Variable(0, trainable=False)
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
            progress: Called after every step with (steps done, steps in all or None, loss). The loss is a
                tensor: reading it waits for the step to be computed.

        Returns:
            {"loss": mean cross-entropy in nats, "accuracy": share in [0, 1]} over the images, as
            they were when the steps saw them. When a loss is not finite, the epoch ends there, with
            that loss: whoever called decides what to do about it (see `rollback`).
        """
        step = self._program(path).train
        rate = tf.constant(learning_rate, tf.float32)
        return self._run(lambda images, labels: step(images, labels, rate), batches, progress)

    def evaluate(self, path, batches, norm_batches):
        """Loss and accuracy of the sampled architecture; nothing is changed.

        Batch norm normalises by statistics of the path that are estimated on `norm_batches` and then fixed
        (models/networks/batch_statistics.py). So an image's logits do not depend on the order of the images, on the
        batch size or on the images beside it, but for float32's rounding (a relative 1e-5 of the logits, as tested).

        Args:
            path: The sampled architecture: choice name -> operation name.
            batches: What to measure on; as in `train_epoch`.
            norm_batches: Training images like those to measure on, so without augmentation: batches of about the same
                size, of all classes.

        Returns:
            As `train_epoch`.
        """
        program = self._program(path)
        with _without_graph_optimizer():
            recorded = [program.statistics(images) for images, _ in norm_batches]
        if not recorded:
            raise ValueError("There is no batch to take batch norm statistics from; is a split of the data empty?")
        statistics = batch_statistics.pooled(recorded)
        return self._run(lambda images, labels: program.evaluate(images, labels, statistics), batches, None)

    def snapshot(self, path):
        """Returns what training `path` can change, copied; for `rollback`."""
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
        """Returns all weights and momentum by name, as NumPy arrays; for `restore`, also elsewhere."""
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
        """Returns the momentum variable of a trainable weight."""
        return self._velocities[id(weight)]

    def _named_variables(self):
        # Numbers, as the automatic names of Keras layers differ from process to process.
        for i, variable in enumerate(self.supernet.variables):
            yield f"weights/{i:05d}", variable.value
        for i, variable in enumerate(self.supernet.trainable_variables):
            yield f"momentum/{i:05d}", self.velocity(variable)
        if self.loss_scale is not None:
            yield "loss_scale/value", self.loss_scale
            yield "loss_scale/steps", self.steps_at_scale

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
                    progress(len(losses), steps, loss)
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
        self._traced = {}

    def train(self, images, labels, learning_rate):
        """Trains a step on (batch, height, width, channels) images and (batch,) labels."""
        # Training batches have one size, and shapes that are known make fewer operations.
        return self._call(self._train, labels.shape[0], [images, labels], learning_rate)

    def statistics(self, images):
        """Mean and biased variance of each batch norm of the path, of a batch (batch, height, width, channels)."""
        return self._call(self._statistics, None, [images])

    def evaluate(self, images, labels, statistics):
        """Validates a batch by the statistics of each batch norm."""
        return self._call(self._evaluate, None, [images, labels], statistics)  # batches differ in size

    def _call(self, step, batch_size, batch, *more):
        """Calls a step on tensors that have a batch's rows and others; it is traced once for a batch size."""
        key = step.__name__, batch_size
        if key not in self._traced:
            function = tf.function(step, autograph=False, jit_compile=self._trainer.jit or None)
            self._traced[key] = function.get_concrete_function(
                *(tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype) for tensor in batch),
                *tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), more),
            )
        return self._traced[key](*batch, *more)

    def _train(self, images, labels, learning_rate):
        return self._on_replicas(self._train_share, images, labels, learning_rate)

    def _evaluate(self, images, labels, statistics):
        return self._on_replicas(self._evaluate_share, images, labels, statistics)

    def _statistics(self, images):
        return self._on_replicas(self._statistics_share, images)

    def _on_replicas(self, function, *arguments):
        strategy = self._trainer.strategy
        if strategy.num_replicas_in_sync == 1:
            return function(*arguments)
        results = strategy.run(function, arguments)
        return tf.nest.map_structure(lambda result: strategy.experimental_local_results(result)[0], results)

    def _train_share(self, images, labels, learning_rate):
        with traced.registered_gradients():
            loss, correct = self._forward(images, labels, training=True)
            scale = self._trainer.loss_scale
            scaled_loss = loss if scale is None else loss * scale
            gradients = tf.gradients(scaled_loss, [variable.value for variable in self._variables])
            # A sampled "none" can cut weights off from the output.
            pairs = [pair for pair in zip(gradients, self._variables, strict=True) if pair[0] is not None]
            gradients, variables = zip(*pairs, strict=True)
            self._apply(replicas.sum_over_replicas(gradients), variables, learning_rate)
        return replicas.sum_over_replicas((loss, correct))

    def _evaluate_share(self, images, labels, statistics):
        with batch_statistics.fixed(statistics):
            return replicas.sum_over_replicas(self._forward(images, labels, training=False))

    def _statistics_share(self, images):
        (images,) = replicas.share_of_replica(images)
        with batch_statistics.recorded() as recorded:
            self._trainer.supernet(images, path=self._path, training=False)
        return recorded

    def _forward(self, images, labels, training):
        """This replica's part of the mean loss and of the number of right answers."""
        size = tf.shape(labels)[0]
        images, labels = replicas.share_of_replica(images, labels)
        logits = tf.cast(self._trainer.supernet(images, path=self._path, training=training), tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        right = tf.argmax(logits, axis=-1, output_type=tf.int32) == labels
        return tf.reduce_sum(losses) / tf.cast(size, tf.float32), tf.reduce_sum(tf.cast(right, tf.float32))

    def _apply(self, gradients, variables, learning_rate):
        """The step of `SGD` (models/training/optimizer.py), with few operations to trace: one for all of a shape."""
        trainer = self._trainer
        groups = collections.defaultdict(list)
        for gradient, variable in zip(gradients, variables, strict=True):
            groups[tuple(variable.shape)].append((gradient, variable))
        packed = []
        for group in groups.values():
            gradients, variables = zip(*group, strict=True)
            packed.append((tf.stack(gradients), tf.stack([traced.read(v) for v in variables]), variables))

        factor, momentum = tf.constant(1.0), tf.constant(trainer.momentum)
        decay = tf.constant(trainer.weight_decay)
        norm = tf.sqrt(2 * tf.add_n([tf.nn.l2_loss(gradients) for gradients, _, _ in packed]))
        if trainer.loss_scale is not None:
            factor = 1 / trainer.loss_scale
            norm *= factor
        if trainer.gradient_clip:
            factor *= tf.minimum(1.0, trainer.gradient_clip / norm)
        finite = None
        if trainer.loss_scale is not None:
            finite = tf.math.is_finite(norm)
            self._adapt_loss_scale(finite)
            momentum = tf.where(finite, momentum, 1.0)
            learning_rate = tf.where(finite, learning_rate, 0.0)
        for gradients, weights, variables in packed:
            steps = factor * gradients + decay * weights
            if finite is not None:
                steps = tf.where(finite, steps, 0.0)
            for step, variable in zip(tf.unstack(steps), variables, strict=True):
                tf.raw_ops.ResourceApplyMomentum(
                    var=variable.value.handle,
                    accum=trainer.velocity(variable).handle,
                    lr=learning_rate,
                    grad=step,
                    momentum=momentum,
                )

    def _adapt_loss_scale(self, finite):
        scale, steps = self._trainer.loss_scale, self._trainer.steps_at_scale
        grow = tf.logical_and(finite, steps + 1 >= LOSS_SCALE_GROWTH_STEPS)
        factor = tf.where(grow, 2.0, tf.where(finite, 1.0, 0.5))
        new_steps = tf.where(tf.logical_or(grow, tf.logical_not(finite)), 0, steps + 1)
        # On the handles, as every replica sets its own copy to the same.
        tf.raw_ops.AssignVariableOp(resource=scale.handle, value=tf.maximum(scale * factor, 1.0))
        tf.raw_ops.AssignVariableOp(resource=steps.handle, value=new_steps)


@contextlib.contextmanager
def _without_graph_optimizer():
    """Grappler costs seconds per program and makes its steps no faster on a CPU; a GPU needs it for the layout."""
    if not tuning.on_cpu():
        yield
        return
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        restored = {"disable_meta_optimizer": options.get("disable_meta_optimizer", False)}
        tf.config.optimizer.set_experimental_options(restored)
