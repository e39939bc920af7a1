"""Losses of the form h(f) - y f: what the theory asks of outputs and labels.

With one output h = softplus and y is 0 or 1; with K outputs h = logsumexp and y is
one-hot, or soft and of sum 1.
"""

import numpy as np
import scipy.special


def targets_of(labels, outputs, least=2, count=None):
    """Returns labels as what multiplies the logits.

    Args:
        labels: `(n,)` integers, or `(n, outputs)` numbers of sum 1 in each row.
        outputs: int. Logits of the network; 1 is the binary form.
        least: int. So many classes there must be.
        count: int, n; None for any.

    Returns:
        `(n, outputs)` float64.

    Raises:
        ValueError: For labels that do not fit, or that are of one class only.
    """
    labels = np.asarray(labels)
    if not len(labels):
        raise ValueError("The theory needs images with labels. Received: none")
    columns = labels.shape[1:] in ((), (1,), (outputs,))
    if len(labels) != (count or len(labels)) or not columns:
        raise ValueError(
            f"There must be a label, or a row of {outputs} numbers, for each image. "
            f"Received: labels of shape {labels.shape}, "
            f"{len(labels) if count is None else count} images"
        )
    soft = labels.ndim == 2 and labels.shape[1] == outputs > 1
    if soft and not np.allclose(labels.sum(axis=1), 1, atol=1e-5):
        sums = labels.sum(axis=1)
        raise ValueError(
            "Each row of soft labels must have the sum 1, or the loss is not of the "
            f"form h(f) - y f. Received: sums from {sums.min():g} to {sums.max():g}"
        )
    labels = labels if soft else labels.reshape(len(labels), -1).squeeze(-1)
    classes = max(outputs, 2)
    if not soft:
        if not np.all(
            (labels == np.round(labels)) & (labels >= 0) & (labels < classes)
        ):
            raise ValueError(
                f"`labels` must be integers from 0 to {classes - 1}, or rows of "
                f"{outputs} numbers. Received: {np.unique(labels)[:10].tolist()}"
            )
        if len(np.unique(labels)) < least:
            raise ValueError(
                "The labels must be of two classes at least: mixing within one class "
                f"changes no label. Received: class {int(labels[0])} only"
            )
    if soft:
        return labels.astype("float64")
    if outputs == 1:
        return labels.astype("float64")[:, None]
    return np.eye(outputs)[labels.astype(int)]


def losses(logits, targets):
    """Returns h(f) - y f of each image, in nats, `(n,)` float64."""
    if logits.shape[-1] == 1:
        value = np.logaddexp(0, logits[..., 0])
    else:
        value = scipy.special.logsumexp(logits, axis=-1)
    return value - np.sum(targets * logits, axis=-1)


def means(logits):
    """Returns h'(f): a sigmoid of one logit, the softmax of several."""
    if logits.shape[-1] == 1:
        return scipy.special.expit(logits)
    return scipy.special.softmax(logits, axis=-1)


def label_law(logits):
    """Returns the model's own law of labels, and the residual of each.

    Since h'' = sum_c p_c r_c r_c^T with r_c = h'(f) - e_c, a quadratic form of h'' is
    the mean of a square over labels c that the model itself draws.

    Returns:
        `(p, r)`: `(n, classes)` probabilities, and `(n, classes, outputs)` residuals.
    """
    mean = means(logits)
    if logits.shape[-1] == 1:
        probabilities = np.concatenate([1 - mean, mean], axis=1)
        return probabilities, mean[:, None, :] - np.array([[0.0], [1.0]])
    return mean, mean[:, None, :] - np.eye(logits.shape[-1])
