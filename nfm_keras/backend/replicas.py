"""The replicas of TensorFlow's distribution strategies, from inside a training step.

Everywhere else there is one: JAX and its distribution see one batch, PyTorch has one
device here.
"""

import keras


def replica_id():
    """Returns the number of the replica that runs this: int, or a tensor; 0 of one."""
    context = _context()
    return 0 if context is None else context.replica_id_in_sync_group


def in_all(flag):
    """Returns whether a flag is set in all replicas.

    Args:
        flag: bool scalar tensor, this replica's.

    Returns:
        bool scalar tensor, the same in all replicas.
    """
    context = _context()
    if context is None:
        return flag
    import tensorflow as tf

    total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(flag, "float32"))
    return total > context.num_replicas_in_sync - 0.5


def means(values):
    """Returns the means of numbers over all replicas, got in one message.

    Args:
        values: List of scalar tensors of TensorFlow, this replica's.

    Returns:
        float32 tensor `(len(values),)`.
    """
    import tensorflow as tf

    return _mean(tf.stack([tf.cast(value, "float32") for value in values]))


def average_statistics(network):
    """Gives all replicas the mean of what each of them measured in a step.

    Those are the moving averages of batch normalisation, which TensorFlow's strategies
    let drift apart; a checkpoint holds one copy. Call it in a training step.

    Args:
        network: Functional model; what its optimiser trains is the same in all anyway.
    """
    if _context() is None:
        return
    import tensorflow as tf

    own = [
        v
        for v in network.non_trainable_variables
        if v.aggregation == "none" and keras.backend.is_float_dtype(v.dtype)
    ]
    if not own:
        return

    # One message for all; and not `convert_to_tensor`, whose tensors are on no device.
    flat = [tf.reshape(tf.cast(tf.identity(v.value), "float32"), [-1]) for v in own]
    mean = _mean(tf.concat(flat, 0))
    for variable, part in zip(own, tf.split(mean, [f.shape[0] for f in flat])):
        variable.assign(tf.reshape(part, variable.shape))


def _mean(values):
    context = _context()
    if context is None:
        return values
    import tensorflow as tf

    return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def _context():
    """TensorFlow's replica context; None where there is one replica, or none at all."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    several = context is not None and context.num_replicas_in_sync > 1
    return context if several else None
