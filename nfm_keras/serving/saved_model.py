"""A classifier out as a SavedModel, laid out as TensorFlow Serving wants it.

TensorFlow backend only: SavedModel is its format. A `.keras` file written under
another backend loads under TensorFlow and is exported from there.
"""

import os
import pathlib
import shutil

import keras

from nfm_keras import records
from nfm_keras.serving import checks as export_checks
from nfm_keras.serving import signatures, warmup
from nfm_keras.serving.card import model_card


def export(
    classifier,
    path,
    *,
    version=None,
    record=None,
    classes=None,
    features=False,
    float16=False,
):
    """Write a classifier as version folder `<path>/<version>/` of a SavedModel.

    The folder is written under a hidden name beside its place, loaded again, every
    signature compared with the Keras model, and only then renamed: a server that
    watches `path` never sees half a model, and a version that is there is never
    touched.

    `nfm_keras.serving.signatures.signatures` says what it may be asked: images in [0, 1]
    (`serving_default`), uint8 images (`serving_uint8`), JPEG and PNG files
    (`serving_bytes`). Beside the network lie `model_card.md` and, in `assets.extra`,
    `classes.txt` and warm-up requests (`nfm_keras.serving.warmup`).

    Args:
        classifier: Keras model from images in [0, 1] to logits, built, without
            `NoisyFeatureMixup` layers.
        path: folder of the model, `savedmodels/<name>`; created if needed.
        version: int above 0. The next free one if None.
        record: `nfm_keras.records.run.Record` to write inside as `record.json`.
        classes: iterable of str, one name a logit; the numbers from 0 if None.
        features: bool. Add the signature `features`, the input of the last layer.
        float16: bool. Store the weights in half precision: half the size, and
            outputs that the rounding changes, by how much the model card says.

    Returns:
        `pathlib.Path` of the version folder.

    Raises:
        ValueError: if the model holds mixing layers, a random op or one that calls
            Python, ends in a softmax, has several inputs or outputs, if `classes` does
            not fit, or if its last layer has no features or a weight no half.
        FileExistsError: if `version` is there already.
        RuntimeError: under another backend, or if the SavedModel's outputs differ
            from the model's by more than rounding (1e-5 in float32).

    Example:

    >>> from nfm_keras import export  # doctest: +SKIP
    >>> export.export(classifier, "savedmodels/cifar10_nfm")  # doctest: +SKIP
    PosixPath('savedmodels/cifar10_nfm/1')
    """
    export_checks.check_classifier(classifier)
    classes = _checked_classes(classifier, classes)
    names = classes or [str(number) for number in range(classifier.output_shape[-1])]
    model = signatures.with_features(classifier) if features else classifier
    offered = signatures.signatures(model, names, float16)
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    target = path / str(_version(path, version))
    # Not tempfile.mkdtemp: only the owner could read what it makes.
    temporary = path / f".{target.name}.{os.getpid()}.tmp"
    try:
        _write(offered, temporary)
        export_checks.check_graph(temporary)
        changed = export_checks.check_outputs(model, temporary, float16)
        _add_notes(temporary, record, classes)
        title = f"{target.parent.name}, version {target.name}"
        card = model_card(title, offered, names, record, changed if float16 else None)
        (temporary / "model_card.md").write_text(card, encoding="utf-8")
        warmup.write(temporary / "assets.extra", path.name, _requests(model, offered))
        _publish(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def classify(path, images):
    """Classifies images with an exported model, as a client of a server would.

    Args:
        path: version folder that `export` returned.
        images: uint8 `(batch, height, width, channels)`.

    Returns:
        List of `(class name, probability)`, one an image; the class's number where
        no names were exported.

    Example:

    >>> classify("savedmodels/digits_nfm/1", images)  # doctest: +SKIP
    [('3', 0.97)]
    """
    import tensorflow as tf

    path = pathlib.Path(path)
    servable = tf.saved_model.load(str(path))
    outputs = servable.signatures["serving_uint8"](images=tf.constant(images))
    names = path / "assets.extra" / "classes.txt"
    names = names.read_text(encoding="utf-8").splitlines() if names.exists() else None
    best = outputs["probabilities"].numpy()
    labels = best.argmax(1)
    return [
        (names[k] if names else str(k), float(row[k])) for k, row in zip(labels, best)
    ]


def _checked_classes(classifier, classes):
    if classes is None:
        return None
    classes, expected = [str(name) for name in classes], classifier.output_shape[-1]
    if len(classes) != expected:
        raise ValueError(
            f"`classes` must hold {expected} names, one a logit. "
            f"Received: {len(classes)}"
        )
    return classes


def _version(path, version):
    taken = [int(entry.name) for entry in path.iterdir() if entry.name.isdecimal()]
    if version is None:
        return max(taken, default=0) + 1
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"`version` must be an int above 0. Received: {version!r}")
    if version in taken:
        raise FileExistsError(
            f"{path / str(version)} exists; a version is never changed"
        )
    return version


def _write(offered, folder):
    # No archive.track(classifier): add_endpoint finds the variables itself, and those
    # tracked as well are stored twice.
    archive = keras.export.ExportArchive()
    for signature in offered:
        archive.add_endpoint(
            signature.name, signature.function, input_signature=[signature.spec]
        )
    archive.write_out(str(folder), verbose=False)


def _add_notes(folder, record, classes):
    if record is not None:
        records.save(record, folder / records.FILE)
    extra = folder / "assets.extra"  # where TensorFlow Serving looks for extras
    extra.mkdir()
    if classes is not None:
        text = "".join(f"{name}\n" for name in classes)
        (extra / "classes.txt").write_text(text, encoding="utf-8")


def _requests(model, offered):
    image = export_checks.example_images(model, batch=1)
    return {s.name: (s.spec.name, signatures.example(s.name, image)) for s in offered}


def _publish(temporary, target):
    try:
        # os.rename refuses a target that holds a model, so of two exports that
        # chose the same version one fails and neither is lost.
        os.rename(temporary, target)
    except OSError as error:
        if target.exists():
            message = f"{target} appeared meanwhile; a version is never changed"
            raise FileExistsError(message) from None
        raise OSError(error.errno, f"Cannot write {target}: {error.strerror}") from None
