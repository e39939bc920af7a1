"""The model card: what a version folder holds, for the person who deploys it."""

from nfm_keras.table import Table, Text


def model_card(title, signatures, classes, record=None, float16=None):
    """Returns what is known of an exported classifier, as Markdown.

    Args:
        title: str, name and version.
        signatures: List of `nfm_keras.serving.signatures.Signature`.
        classes: Iterable of str, in the order of the logits.
        record: `nfm_keras.records.Record` of the run, with its scores, or `None`.
        float16: `None`, or the largest difference of an output that weights in half
            precision make, on random images.

    Returns:
        str: headings, tables and sentences; no path of the machine.

    Example:

    >>> print(model_card("toy, version 1", [], ["a", "b"]).splitlines()[0])
    # toy, version 1
    """
    parts = [f"# {title}\n", *_run(record), *_asking(signatures), *_names(classes)]
    if float16 is not None:
        parts.append(
            "## Weights\n\nStored in half precision, and computed with in single "
            "precision. On random images that changes an output by at most "
            f"{float16:.1e}.\n"
        )
    return "\n".join([*parts, *_scores(record), *_training(record)])


def _run(record):
    if record is None:
        return ["A classifier, exported by nfm-keras without a record of a run.\n"]
    measured = ", `evaluation.json` all that was measured" if record.scores else ""
    return [
        f"A classifier: `{record.network}` with {record.parameters:,} weights, "
        f"trained on `{record.dataset}` by the scheme `{record.scheme}` of nfm-keras. "
        f"`record.json` beside this file is the whole record{measured}.\n"
    ]


def _asking(signatures):
    rows = [
        (
            _code(signature.name),
            _code(signature.spec.name),
            signature.spec.dtype.name,
            _shape(signature.spec),
            signature.about,
        )
        for signature in signatures
    ]
    header = ("signature", "input", "type", "shape", "what it takes")
    return [
        "## Signatures\n",
        Table(header, rows).to_markdown(),
        "Outputs: `logits` and `probabilities`, float32 (batch, classes), and "
        "`classes`, the name of the most probable class, string (batch,). "
        "`features`, where it is there, gives `features` alone. Images are normalised "
        "inside the model. Files are decoded and resized inside it too: bilinear, "
        "antialiased, alpha dropped.\n",
    ]


def _names(classes):
    return ["## Classes\n", ", ".join(classes) + "\n"]


def _scores(record):
    if record is None or not record.scores:
        return ["## Scores\n", "None were recorded.\n"]
    rows = [
        (
            _code(score.perturbation),
            score.protocol,
            f"{score.value:.2f}",
            f"{score.low:.2f} to {score.high:.2f}",
            score.n,
        )
        for score in record.scores
    ]
    header = ("perturbation", "protocol", "accuracy in %", "95 % interval", "images")
    return [
        "## Scores\n",
        "Of the test images, measured on the model before its export.\n",
        Table(header, rows).to_markdown(),
    ]


def _training(record):
    if record is None:
        return []
    rows = [(_code(name), _code(str(value))) for name, value in record.config.items()]
    versions = ", ".join(f"{name} {text}" for name, text in record.versions.items())
    begun = f"Begun {record.started}, {record.seconds:.0f} s"
    table = Table(("setting", "value"), rows).to_markdown()
    return ["## Training\n", f"{begun}; {versions}.\n", table]


def _code(text):
    return Text(text, style="code")


def _shape(spec):
    sizes = ["batch", *(size or "any" for size in spec.shape[1:])]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
