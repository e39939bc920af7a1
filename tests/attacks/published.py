"""Published algorithms, written down as they are listed, to compare ours with."""

import numpy as np

from nfm_keras.attacks import checkpoints


def walk(evaluate, image, start, epsilon, norm, steps, rho, zero=0.0):
    """Auto-PGD on one image: every point that it evaluates, and where it halved.

    `zero` is the loss of 0 that the authors' code takes for the one at the start.
    """

    def project(point):
        delta = point - image
        if norm == "linf":
            delta = np.clip(delta, -epsilon, epsilon)
        else:
            delta = delta * min(1, epsilon / max(np.linalg.norm(delta), 1e-12))
        return np.clip(image + delta, 0, 1)

    def ascend(point, eta, gradient):
        scale = 1 if norm == "linf" else np.linalg.norm(gradient)
        return eta * (np.sign(gradient) if norm == "linf" else gradient / scale)

    points, eta, marks = [start], 2 * epsilon, (0, *checkpoints(steps))
    loss, gradient = evaluate(start)
    best, best_gradient, history = start, gradient, [zero]
    best_losses, etas, previous, current = [loss], [eta], start, start
    halvings = []
    for step in range(1, steps + 1):
        momentum = 1 if step == 1 else 0.75
        z = project(current + ascend(current, eta, gradient))
        moved = (
            current + momentum * (z - current) + (1 - momentum) * (current - previous)
        )
        previous, current = current, project(moved)
        points.append(current)
        loss, gradient = evaluate(current)
        history.append(loss)
        if loss > best_losses[-1]:
            best, best_gradient = current, gradient
        best_losses.append(max(loss, best_losses[-1]))
        if step in marks:
            before = marks[marks.index(step) - 1]
            rises = sum(history[i + 1] > history[i] for i in range(before, step))
            stuck = rises <= rho * (step - before)
            kept = etas[-1] == eta and len(etas) > 1
            etas.append(eta)
            if stuck or (kept and best_losses[before] == best_losses[step]):
                eta, current, gradient = eta / 2, best, best_gradient
                halvings.append(step)
    return points, halvings
