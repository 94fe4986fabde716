"""What replicas of a distributed step share out and sum up."""

import tensorflow as tf

from models.networks import traced


def replicas():
    """Returns how many replicas share the batch of the step that is being traced."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def share_of_replica(*tensors):
    """Returns the rows of each tensor (batch, ...) that this replica computes."""
    count = replicas()
    if count == 1:
        return tensors
    number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
    size = tensors[0].shape[0] or tf.shape(tensors[0])[0]
    return [tensor[size * number // count : size * (number + 1) // count] for tensor in tensors]


def sum_over_replicas(tensors):
    """Returns each tensor summed over the replicas; without a gradient."""
    if replicas() == 1:
        return tensors

    def merge(strategy, *values):
        return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, [(value, value) for value in values])

    # ReplicaContext.all_reduce is a tf.custom_gradient, and would keep every traced graph.
    return tf.distribute.get_replica_context().merge_call(merge, args=tensors)


def statistics_over_replicas(images):
    """Mean, biased variance and count, per channel, of the batch that the replicas share."""
    axes = [0, 1, 2]
    count = tf.cast(tf.size(images) // images.shape[-1], tf.float32)
    sums = tf.stack([tf.reduce_sum(images, axes), tf.reduce_sum(images**2, axes), tf.fill(images.shape[-1:], count)])

    def summed(values):
        def gradient(sums):
            return sum_over_replicas((sums,))

        return sum_over_replicas((values,))[0], gradient

    total, total_of_squares, count = tf.unstack(traced.compute(summed, sums, training=True))
    mean = total / count
    return mean, tf.maximum(total_of_squares / count - mean**2, 0.0), count
