"""The two norms: what a ball of radius epsilon looks like.

Functions of tensors are written in `keras.ops` and run inside compiled code; those that
draw, and `distances`, are NumPy. All axes but the first belong to one image.
"""

import math

import numpy as np
from keras import ops

NORMS = ("linf", "l2")


def project(delta, epsilon, norm):
    """Returns the nearest perturbation within the ball of radius epsilon.

    Args:
        delta: `(batch, ...)` tensor.
        epsilon: float.
        norm: str.

    Example:

    >>> print(ops.convert_to_numpy(project(ops.array([[3.0, -4.0]]), 1.0, "linf")))
    [[ 1. -1.]]
    """
    if norm == "linf":
        return ops.clip(delta, -epsilon, epsilon)
    return delta * ops.minimum(1.0, epsilon / ops.maximum(length(delta, norm), 1e-12))


def into_ball(points, images, epsilon, norm):
    """Projects points onto the ball around the images, then clips them to [0,1]."""
    # Clipping last cannot leave the ball again, since the images lie in [0,1].
    return ops.clip(images + project(points - images, epsilon, norm), 0.0, 1.0)


def length(delta, norm):
    """Returns the norm of each perturbation, `(batch, 1, ...)`."""
    axes = tuple(range(1, len(delta.shape)))
    if norm == "linf":
        return ops.max(ops.abs(delta), axis=axes, keepdims=True)
    return ops.sqrt(ops.sum(ops.square(delta), axis=axes, keepdims=True))


def per_image(values, points):
    """Shapes one value an image, `(batch,)`, to multiply its points; any array."""
    return values[(..., *[None] * (len(points.shape) - 1))]


def distances(points, images, norm):
    """Returns the distance of each point from its image, `(batch,)`, in NumPy."""
    delta = (points - images).reshape(len(images), math.prod(images.shape[1:]))
    return np.linalg.norm(delta, np.inf if norm == "linf" else 2, axis=1)


def uniform_inside(generator, shape, norm):
    """Draws from the uniform law in the unit ball."""
    if norm == "linf":
        return generator.uniform(-1.0, 1.0, shape)
    direction = generator.standard_normal(shape)
    length = generator.random() ** (1 / direction.size)
    return direction * (length / np.linalg.norm(direction))


def random_surface(generator, shape, norm):
    """Draws with norm exactly 1.

    A uniform draw divided by its largest entry (`linf`), or a uniform direction (`l2`).
    """
    if norm == "linf":
        direction = generator.uniform(-1.0, 1.0, shape)
        return direction / np.abs(direction).max()
    direction = generator.standard_normal(shape)
    return direction / np.linalg.norm(direction)


def random_starts(draw, images, epsilon, norm, generators):
    """Moves images by epsilon times one draw each and clips them to [0,1].

    Args:
        draw: `uniform_inside` or `random_surface`.
        images: `(batch, ...)` float32 in [0,1].
        epsilon: float.
        norm: str.
        generators: one NumPy generator for each image, asked for in turn.

    Returns:
        float32 array of the shape of `images`.
    """
    delta = np.empty_like(images)
    for row, generator in zip(delta, generators, strict=True):
        row[...] = draw(generator, row.shape, norm)
    return np.clip(images + np.float32(epsilon) * delta, 0, 1)
