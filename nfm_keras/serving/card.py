"""The model card: what a version folder holds, for the person who deploys it."""


def model_card(title, signatures, classes, record=None, float16=None):
    """Writes what is known of an exported classifier, as Markdown.

    Args:
        title: str: name and version.
        signatures: list of `nfm_keras.serving.signatures.Signature`.
        classes: iterable of str, in the order of the logits.
        record: `nfm_keras.records.run.Record` of the run, or None.
        float16: None, or the largest difference of an output that weights in half
            precision make, on random images.

    Returns:
        str. Headings, tables and sentences; no path of the machine.

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
    return [
        f"A classifier: `{record.network}` with {record.parameters:,} weights, "
        f"trained on `{record.dataset}` by the scheme `{record.scheme}` of nfm-keras. "
        "`record.json` beside this file is the whole record.\n"
    ]


def _asking(signatures):
    rows = [
        (f"`{s.name}`", f"`{s.spec.name}`", s.spec.dtype.name, _shape(s.spec), s.about)
        for s in signatures
    ]
    head = ("signature", "input", "type", "shape", "what it takes")
    return [
        "## Signatures\n",
        _table(head, rows),
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
            f"`{s.perturbation}`",
            s.protocol,
            f"{s.value:.2f}",
            f"{s.low:.2f} to {s.high:.2f}",
            s.n,
        )
        for s in record.scores
    ]
    head = ("perturbation", "protocol", "accuracy in %", "95 % interval", "images")
    return [
        "## Scores\n",
        "Of the test images, measured on the model before its export.\n",
        _table(head, rows),
    ]


def _training(record):
    if record is None:
        return []
    config = [(f"`{key}`", f"`{value}`") for key, value in record.config.items()]
    versions = ", ".join(f"{name} {text}" for name, text in record.versions.items())
    begun = f"Begun {record.started}, {record.seconds:.0f} s"
    return ["## Training\n", f"{begun}; {versions}.\n", _table(("setting", ""), config)]


def _shape(spec):
    sizes = ["batch", *(size or "any" for size in spec.shape[1:])]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
