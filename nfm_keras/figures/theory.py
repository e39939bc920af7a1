"""Figures of the theory, each from the plain values of a record."""

import numpy as np
import scipy.stats
from matplotlib.patches import Circle

from nfm_keras.figures.base import finish, named, panel_grid, save, words
from nfm_keras.figures.styles import bar_styles, model_styles, place_styles

_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "#999999"
_FEW = 10  # images in a bin below which it is not drawn
_SMOOTHNESS = {
    "jacobian_norm/": "Jacobian norm",
    "hessian_norm/": "Hessian norm",
    "score": "median score (logits)",
    "margin": "median margin ([0, 1] pixels)",
}
_LOOKS = {
    "theorem 1": (_BLUE, "o", "-"),
    "(26), its own": ("#56B4E9", "s", "-"),
    "(19) as printed": (_RED, "^", "--"),
    "D~ as printed": ("#E69F00", "v", "--"),
    "(26), theorem 1": ("#CC79A7", "D", "--"),
}
_NAMES = {
    "theorem 1": "Theorem 1, equation (28)",
    "(26), its own": "equation (26), an expansion of its own",
    "(19) as printed": "with equation (19) as printed",
    "D~ as printed": "with D~ as printed",
    "(26), theorem 1": "Theorem 1 taken for equation (26)",
}


def expansion(cases, path):
    """Draws the errors of each expansion over epsilon, on logarithmic axes.

    Args:
        cases: list of dicts with `outputs`, `site`, `epsilons`, `errors`, `slopes`.
        path: File to write, as in `finish`.

    Returns:
        The figure.
    """
    figure, axes = panel_grid(len(cases), across=2, width=3.6, height=2.7)
    for axis, case in zip(axes, cases, strict=True):
        x = np.asarray(case["epsilons"])
        for name, errors in case["errors"].items():
            color, marker, dashes = _LOOKS[name]
            look = {"color": color, "marker": marker, "linestyle": dashes}
            slope = case["slopes"][name]
            axis.loglog(x, errors, label=_NAMES[name], markersize=4, **look)
            if name in ("theorem 1", "(26), theorem 1"):
                side, at = ("right", (0, 6)) if slope < 2 else ("left", (3, -9))
                place = {"xytext": at, "ha": side, "textcoords": "offset points"}
                text = f"slope {slope:.2f}"
                axis.annotate(text, (x[1], errors[1]), color=color, fontsize=7, **place)
        outputs = "one logit" if case["outputs"] == 1 else f"{case['outputs']} logits"
        axis.set_title(f"{outputs}, site: {case['site']}", fontsize=9)
        axis.set_xlabel("epsilon")
        axis.set_ylabel("error (nats)")
    return finish(figure, path, None, None)


def perturbation(values, path):
    """Draws samples of Lemma 1's perturbation beside the printed and the right law.

    Args:
        values: dict with `edges`, `density`, `mean`, `deviation` and `n`.
        path: File to write.
    """
    figure, (axis,) = panel_grid(1, across=1, width=5.0, height=2.6)
    label = f"{values['n']:,} samples"
    axis.stairs(
        values["density"], values["edges"], fill=True, color="#CCCCCC", label=label
    )
    width = values["deviation"]
    grid = np.linspace(-4 * width, values["mean"] + 4 * width, 300)
    right = scipy.stats.norm.pdf(grid, values["mean"], width)
    axis.plot(grid, right, color=_BLUE, label="mean (1 - λ)(z~ - z)")
    printed = scipy.stats.norm.pdf(grid, 0, width)
    axis.plot(grid, printed, "--", color=_RED, label="mean 0, as printed")
    axis.set_xlabel("perturbation of the feature, given partner and λ")
    axis.set_ylabel("density")
    return finish(figure, path, None, None)


def adversarial(values, path):
    """Draws the two sides of Theorem 2: their difference over epsilon squared.

    Args:
        values: dict with `epsilons` and `gaps`.
        path: File to write.
    """
    figure, (axis,) = panel_grid(1, across=1, width=5.0, height=2.6)
    looks = zip(values["gaps"].items(), ((_BLUE, "o"), (_RED, "^")), strict=True)
    for (name, gaps), (color, marker) in looks:
        axis.plot(values["epsilons"], gaps, marker=marker, color=color, label=name)
    axis.axhline(0, color=_GREY, linewidth=1)
    axis.set_xscale("log")
    axis.set_xlabel("epsilon")
    axis.set_ylabel("(left - right) / epsilon²")
    return finish(figure, path, None, None)


def margin(values, path):
    """Draws Proposition 1's bounds over the true margins of a linear network.

    Args:
        values: dict with `true`, `printed` and `corrected`.
        path: File to write.
    """
    figure, (axis,) = panel_grid(1, across=1, width=5.0, height=2.8)
    true = np.asarray(values["true"])
    axis.plot(true, true, color=_GREY, linewidth=1, label="true margin")
    axis.plot(true, values["corrected"], "o", color=_BLUE, label="score / 2 sup |J|")
    printed = "score / sup |J|, as printed"
    axis.plot(true, values["printed"], "^", color=_RED, label=printed)
    axis.set_xlabel("true margin")
    axis.set_ylabel("lower bound of the margin")
    return finish(figure, path, None, None)


def total_variation(cases, path):
    """Draws Theorem 5's distance and its bounds over the size of a perturbation.

    Args:
        cases: list of dicts with `sigma_add`, `sigma_mult`, `distance`, `sampled`,
            `bound` and `printed`.
        path: File to write.
    """
    figure, axes = panel_grid(len(cases), across=2, width=3.6, height=2.7)
    for axis, case in zip(axes, cases, strict=True):
        x = case["distance"]
        axis.plot(x, case["sampled"], "o", color="black", label="sampled", markersize=4)
        axis.plot(x, case["bound"], color=_BLUE, label="bound")
        axis.plot(x, case["printed"], "--", color=_RED, label="(107) as printed")
        axis.set_ylim(-0.05, 1.3)
        title = f"σ add {case['sigma_add']:g}, σ mult {case['sigma_mult']:g}"
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("|τ|, in units of the features")
        axis.set_ylabel("total variation")
    return finish(figure, path, None, None)


def boundaries(values, path, extent):
    """Draws decision boundaries in the plane, around each point its distance to them.

    Args:
        values: dict with `points`, `labels` and `schemes`, as
            `nfm_keras.theory.study.toy.boundaries` returns it.
        path: File to write.
        extent: float, half a side of the square.
    """
    points, labels = np.array(values["points"]), np.array(values["labels"])
    figure, axes = panel_grid(len(values["schemes"]), across=2, width=3.3, height=3.1)
    colors = np.where(labels == 1, _RED, _BLUE)
    for axis, (scheme, one) in zip(axes, values["schemes"].items(), strict=True):
        grid = np.array([row.split() for row in one["grid"]], "float64")
        side = np.linspace(-extent, extent, len(grid))
        shades = ["#CFE3F0", "#F7DCCB"]
        axis.contourf(side, side, grid, [-1e9, 0, 1e9], colors=shades)
        line = axis.contour(side, side, grid, [0], colors="black", linewidths=1)
        ends = np.concatenate([*line.allsegs[0], np.full((1, 2), np.inf)])
        distances = np.linalg.norm(points[:, None] - ends, axis=2).min(axis=1)
        right = np.array(one["margins"]) > 0  # 0 where a point is misclassified
        for point, color, radius in zip(points[right], colors[right], distances[right]):
            look = {"color": color, "alpha": 0.35, "linewidth": 0.6, "fill": False}
            axis.add_patch(Circle(point, radius, **look))
        axis.scatter(*points.T, s=5, c=colors)
        axis.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
        middle = np.median(distances[right]) if right.any() else 0.0
        text = f"{words(scheme)}: {one['accuracy']:.1f} %, median margin {middle:.2f}"
        axis.set_title(text, fontsize=9)
        axis.set(xticks=[], yticks=[])
    return save(figure, path, None, None)


def regularizers(values, labels, path):
    """Draws each term of each classifier, a panel a site.

    Args:
        values: dict from site to dict from classifier to list of lists, a `(value,
            error)` for each term and for each run.
        labels: Names of the terms.
        path: File to write.
    """
    figure, axes = panel_grid(len(values), across=1, width=7.0, height=2.3)
    places = np.arange(len(labels))
    looks = bar_styles(model_styles({name: 0 for of in values.values() for name in of}))
    for axis, (site, found) in zip(axes, values.items(), strict=True):
        width = 0.8 / len(found)
        for number, (name, runs) in enumerate(found.items()):
            runs = np.asarray(runs, "float64")  # (runs, terms, 2)
            middle = runs[:, :, 0].mean(axis=0)
            spread = (
                runs[:, :, 0].std(axis=0, ddof=1) if len(runs) > 1 else runs[0].T[1]
            )
            x = places + (number - (len(found) - 1) / 2) * width
            look = looks[name] | {"edgecolor": "white", "error_kw": {"linewidth": 0.8}}
            axis.bar(x, middle, width, yerr=spread, label=named(name), **look)
        axis.set_xticks(places, labels)
        axis.set_yscale("symlog", linthresh=1e-4)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set_title(f"site: {site}", fontsize=9)
        axis.set_ylabel("nats")
    return finish(figure, path, None, None, grid="y")


def margins(values, path, infinite=np.inf):
    """Draws a histogram of linearised margins of each classifier.

    Args:
        values: dict from classifier to margins.
        path: File to write.
        infinite: float. Margins from here on are drawn as the largest below it.
    """
    figure, (axis,) = panel_grid(1, across=1, width=6.0, height=2.8)
    everything = np.concatenate([*values.values()])
    most = float(np.max(everything, where=everything < infinite, initial=0)) or 1.0
    shown = {name: np.minimum(found, most) for name, found in values.items()}
    looks, edges = model_styles(shown), np.linspace(0, most, 25)
    for name, found in shown.items():
        share = np.full(len(found), 100 / len(found))
        look = {key: looks[name][key] for key in ("color", "linestyle")}
        look |= {"linewidth": 1.5, "label": named(name)}
        axis.hist(found, edges, weights=share, histtype="step", **look)
    axis.set_xlabel("linearised margin, l2, [0, 1] pixels")
    axis.set_ylabel("images (%)")
    return finish(figure, path, None, None)


def reliability(values, path):
    """Draws reliability before and after one temperature, a row a condition.

    Args:
        values: dict from condition to dict from classifier to `(before, after)`, dicts
            with `counts`, `confidence` and `accuracy` of the bins.
        path: File to write.
    """
    figure, axes = panel_grid(2 * len(values), across=2, width=3.2, height=2.9)
    panels = iter(axes)
    for condition, found in values.items():
        looks = model_styles(found)
        for moment, when in enumerate(("before", "after one temperature")):
            axis = next(panels)
            axis.plot([0, 100], [0, 100], color=_GREY, linewidth=1)
            for name, pair in found.items():
                bins = pair[moment]
                there = np.asarray(bins["counts"]) >= _FEW
                x, y = (
                    100 * np.asarray(bins[key])[there]
                    for key in ("confidence", "accuracy")
                )
                look = {"color": looks[name]["color"], "marker": looks[name]["marker"]}
                axis.plot(x, y, label=named(name), markersize=4, linewidth=1, **look)
            axis.set_title(f"{condition}, {when}", fontsize=9)
            axis.set(xlim=(0, 102), ylim=(0, 102))
            axis.set_xlabel("confidence (%)")
            axis.set_ylabel("accuracy (%)")
    return finish(figure, path, None, None)


def smooth(history):
    """Returns which names of a history `SmoothnessLogger` logged, sorted."""
    starts = tuple(_SMOOTHNESS)
    return sorted(
        name for name in history if name.startswith(starts) and "val_" not in name
    )


def smoothness(history, path=None):
    """Draws what `SmoothnessLogger` logged over the epochs.

    Args:
        history: Dict of str to list of float, as of a run.
        path: File to write; None to write none.

    Returns:
        The figure; None where nothing was logged.
    """
    chosen = {
        label: [name for name in smooth(history) if name.startswith(start)]
        for start, label in _SMOOTHNESS.items()
    }
    chosen = {label: names for label, names in chosen.items() if names}
    if not chosen:
        return None
    figure, axes = panel_grid(len(chosen), across=2, width=3.6, height=2.4)
    for axis, (label, names) in zip(axes, chosen.items(), strict=True):
        for name, look in place_styles(names).items():
            values, look = history[name], look | {"markersize": 3}
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, label=name.partition("/")[2] or name, **look)
        axis.set_ylabel(label)
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True)
        axis.grid(True, alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False)
    return figure if path is None else save(figure, path, None, None)
