"""A classifier out as a SavedModel, laid out as TensorFlow Serving wants it.

TensorFlow backend only: SavedModel is its format. A `.keras` file written under
another backend loads under TensorFlow and is exported from there.
"""

import dataclasses
import pathlib
from collections.abc import Iterable

import keras
import numpy as np
from numpy.typing import ArrayLike

from nfm_keras import records
from nfm_keras.checks import check_count, check_number
from nfm_keras.serving import checks, heads, loading, signatures, warmup
from nfm_keras.serving.card import model_card
from nfm_keras.types import StrPath

CARD = "model_card.md"
EXTRA = "assets.extra"
"""Where TensorFlow Serving looks for what is beside a model."""

_CLASSES = "classes.txt"
_LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving counts in int64


def export(
    classifier: keras.Model,
    path: StrPath,
    *,
    version: int | None = None,
    record: records.Record | None = None,
    evaluation: records.Evaluation | None = None,
    classes: Iterable[str] | None = None,
    features: bool = False,
    float16: bool = False,
    eval_crop: float | None = None,
) -> pathlib.Path:
    """Writes a classifier as version folder `<path>/<version>/` of a SavedModel.

    The folder is written under a hidden name beside its place, loaded again, every
    signature compared with the Keras model, and only then renamed: a server that
    watches `path` never sees half a model, and a version that is there is never
    changed.

    `nfm_keras.serving.signatures.signatures` says what it may be asked: images in
    [0, 1] (`serving_default`), uint8 images (`serving_uint8`), JPEG and PNG files
    (`serving_bytes`). Beside the network lie `model_card.md` and, in `assets.extra`,
    `classes.txt` and warm-up requests (`nfm_keras.serving.warmup`).

    Args:
        classifier: Keras model from images to logits, built, without
            `NoisyFeatureMixup` layers. One whose layers scale images of [0, 255] is
            exported as one of [0, 1] (`nfm_keras.unit_range`). Of one that ends in
            sigmoids the probabilities are those; a single output is a probability of
            the second of two classes.
        path: Folder of the model, `savedmodels/<name>`; created if needed.
        version: int from 1 to 2**63 - 1; `None` for the next free one.
        record: `nfm_keras.records.Record` of the run, to write inside as `record.json`.
            The model card tells its scores.
        evaluation: `nfm_keras.records.Evaluation` that the scores are of, to write
            inside as `evaluation.json`; `None` for one of the record's scores alone.
        classes: Iterable of str, one name a class; `None` for the numbers from 0.
        features: Whether to add the signature `features`, the input of the last layer.
        float16: Whether to store the weights in half precision: half the size, and
            outputs that the rounding changes, by how much the model card says.
        eval_crop: Share of the shorter side of a file that `serving_bytes` shows the
            network, by default that of the record's evaluation: 0.875 resizes the
            shorter side to 256 for a network of 224 and cuts the centre out, exactly
            as photographs are evaluated. Without one files are resized as a whole.

    Returns:
        `pathlib.Path` of the version folder.

    Raises:
        ValueError: If the model holds mixing layers, a random op or one that calls
            Python, ends in probabilities other than of sigmoids, has several inputs or
            outputs, if `classes` or `version` does not fit, if its last layer has no
            features or a weight no half, or if files are to be cropped for a network
            whose images are not square.
        FileExistsError: If `version` is there already.
        RuntimeError: Under another backend, or if the SavedModel's outputs differ
            from the model's by more than rounding (1e-5 in float32).

    Example:

    >>> from nfm_keras import networks, remove_sites
    >>> classifier = remove_sites(networks.mlp((8, 8, 1), 10))
    >>> export(classifier, "savedmodels/digits")
    PosixPath('savedmodels/digits/1')
    """
    classifier = checks.check_classifier(classifier)
    head = heads.head_of(classifier, checks.example_images(classifier))
    names = _class_names(head, classes)
    model = signatures.with_features(head.model) if features else head.model
    if eval_crop is None and record is not None:
        eval_crop = record.config.get("eval_crop")
    if eval_crop is not None:
        check_number("eval_crop", eval_crop, above=0, most=1)
        _check_square(model.input_shape, eval_crop)
    offered = signatures.signatures(model, names, float16, head.sigmoid, eval_crop)
    path = pathlib.Path(path)
    target = path / str(_free_version(path, version))
    record, evaluation = _with_scores(record, evaluation)
    with records.whole(target, replace=False) as folder:
        _write(offered, folder)
        checks.check_graph(folder)
        changed = checks.check_outputs(model, folder, float16, eval_crop)
        _add_run(folder, record, evaluation)
        title = f"{path.name}, version {target.name}"
        card = model_card(title, offered, names, record, changed if float16 else None)
        records.write_text(folder / CARD, card)
        _add_extra(folder / EXTRA, None if classes is None else names)
        requests = _requests(model, offered, eval_crop)
        warmup.write(folder / EXTRA, path.name, requests)
    return target


def classify(path: StrPath, images: ArrayLike) -> list[tuple[str, float]]:
    """Classifies images with an exported model, as a client of a server would.

    Args:
        path: Version folder that `export` returned, or the folder of all versions for
            the newest.
        images: uint8 `(batch, height, width, channels)`, or other numbers that are
            integers from 0 to 255.

    Returns:
        List of `(class name, probability)`, one an image; the class's number where
        no names were exported.

    Raises:
        FileNotFoundError: If there is no SavedModel.
        ValueError: If it takes no images, for images of another shape, or for other
            numbers.

    Example:

    >>> classify("savedmodels/digits_nfm/1", images)  # doctest: +SKIP
    [('3', 0.97)]
    """
    place = loading.version_folder(path)
    outputs = loading.answers(place, images, signatures.UINT8)
    file = place / EXTRA / _CLASSES
    names = file.read_text(encoding="utf-8").split("\n") if file.exists() else None
    probabilities = outputs["probabilities"].numpy()
    if probabilities.shape[1] == 1:  # of the second of two classes
        probabilities = np.concatenate([1 - probabilities, probabilities], 1)
    return [
        (names[best] if names else str(best), float(row[best]))
        for best, row in zip(probabilities.argmax(1), probabilities)
    ]


def _class_names(head, classes):
    count = head.classes
    names = [str(name) for name in (range(count) if classes is None else classes)]
    if len(names) != count:
        raise ValueError(
            f"`classes` must hold {count} names, one a logit. Received: {len(names)}"
        )
    for name in names:
        if len(f"{name}.".splitlines()) > 1:  # a line of classes.txt is a class
            raise ValueError(
                f"`classes` must be names without line breaks. Received: {name!r}"
            )
        if name != name.encode(errors="replace").decode():
            raise ValueError(
                f"`classes` must be text that UTF-8 can hold. Received: {name!r}"
            )
    return names


def _check_square(shape, eval_crop):
    if len(shape) == 4 and shape[1] != shape[2]:
        raise ValueError(
            "`eval_crop` cuts a square out, for a network of square images. Received: "
            f"eval_crop={eval_crop}, images of {shape[1]}x{shape[2]}"
        )


def _free_version(path, version):
    entries = path.iterdir() if path.is_dir() else ()
    taken = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    if version is None:
        version = max(taken, default=0) + 1
    check_count("version", version)
    if version > _LARGEST_VERSION:
        raise ValueError(f"`version` must be below 2**63. Received: {version}")
    if version in taken:
        raise FileExistsError(
            f"{path / str(version)} exists; a version is never changed"
        )
    return version


def _with_scores(record, evaluation):
    """Returns both with all scores that either has; an evaluation only if there are."""
    if record is None:
        return None, evaluation
    scores = records.merge(record.scores, evaluation.scores if evaluation else ())
    if scores:
        about = record.name, record.dataset
        evaluation = evaluation or records.Evaluation(*about, images="", probe=[])
        evaluation = dataclasses.replace(evaluation, scores=scores)
    return dataclasses.replace(record, scores=scores), evaluation


def _write(offered, folder):
    # No archive.track(classifier): add_endpoint finds the variables itself, and those
    # tracked as well are stored twice.
    archive = keras.export.ExportArchive()
    for signature in offered:
        archive.add_endpoint(
            signature.name, signature.function, input_signature=[signature.spec]
        )
    archive.write_out(str(folder), verbose=False)


def _add_run(folder, record, evaluation):
    if record is not None:
        records.save(record, folder / records.FILE)
    if evaluation is not None:
        records.save_evaluation(evaluation, folder / records.EVALUATION_FILE)


def _add_extra(folder, classes):
    folder.mkdir()
    if classes is not None:
        records.write_text(folder / _CLASSES, "".join(f"{name}\n" for name in classes))


def _requests(model, offered, eval_crop):
    image = checks.example_images(model, batch=1)
    return {
        s.name: (s.spec.name, signatures.example(s.name, image, eval_crop))
        for s in offered
    }
