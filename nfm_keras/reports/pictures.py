"""What a perturbation looks like: every corruption, and adversarial examples."""

import pathlib

import numpy as np
from keras import ops

from nfm_keras import attacks, corruptions
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data import images as perturbations
from nfm_keras.figures import images as image_plots

_SHOWN = 8


def samples(images, folder, *, seed=0, frost_dir=None):
    """Draw the first image under every corruption at its five severities.

    Args:
        images: `(n, height, width, 1 or 3)`, uint8.
        folder: where samples.png goes.
        seed: int, as in the evaluation.
        frost_dir: folder of frost textures.
    """
    image = np.asarray(images[:1])
    made = {
        kind: [
            corruptions.Corruption(kind, s, frost_dir=frost_dir)(image, seed=seed)[0]
            for s in corruptions.SEVERITIES
        ]
        for kind in corruptions.NAMES
    }
    path = pathlib.Path(folder, "samples.png")
    caption = f"textures: {corruptions.frost_source(frost_dir)[0]}"
    return image_plots.sample_sheet(made, path, original=image[0], caption=caption)


def adversaries(classifier, split, path, *, epsilon=8 / 255, seed=0, name=""):
    """Draw images, what PGD made of them, and the difference magnified.

    Args:
        classifier: Keras model or callable from [0,1] images to logits.
        split: `nfm_keras.data.Split`; its first eight images are shown.
        path: PNG, PDF or SVG file to write.
        epsilon: float. Radius of the l-inf ball, in [0,1] pixels.
        seed: int.
        name: str. Name of the classifier.
    """
    classifier = PlainClassifier(classifier)
    images, labels = split.images[:_SHOWN], split.labels[:_SHOWN]
    attack = attacks.PGD(epsilon, steps=20)
    found = attack(classifier, images, labels, seed=seed)
    clean, attacked = (
        ops.convert_to_numpy(classifier.logits(perturbations.as_images(x))).argmax(1)
        for x in (images, found.images)
    )
    broken = f"{int(found.success.sum())} of {len(images)} images broken"
    return image_plots.adversarial_examples(
        images,
        found.images,
        path,
        labels=labels,
        predictions=clean,
        adversarial_predictions=attacked,
        classes=list(split.spec.classes),
        caption=f"{name}, {attack.id}, 20 steps: {broken}".lstrip(", "),
    )
