"""Clients of a running TensorFlow Serving: REST and gRPC, asked and answering alike.

REST needs the standard library alone; gRPC the stubs of `tensorflow-serving-api`.
"""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.serving.requests import request_values


class ServingError(RuntimeError):
    """What a server refused, in its own words.

    Attributes:
        code: That of the protocol: HTTP's status (int), the name of gRPC's (str), or
            `None` where there was no answer.
    """

    def __init__(self, code: int | str | None, message: str) -> None:
        super().__init__(f"The server answered {code}: {message}" if code else message)
        self.code = code


class Names(NamedTuple):
    """Names of a signature's inputs and outputs, sorted."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, inputs, outputs):
        """Returns the sorted names of two iterables of them."""
        return cls(tuple(sorted(inputs)), tuple(sorted(outputs)))


def request_body(values, signature, rows=False):
    """Writes the JSON body of a REST `predict` request for a signature of one input.

    Args:
        values: As in `request_values`. Bytes travel as base64 under the key `b64`.
        signature: str, its name.
        rows: Whether to write rows (`instances`) instead of columns (`inputs`). The
            server answers in the same format.

    Returns:
        bytes.

    Raises:
        ValueError: As `request_values`.

    Reference:
        TensorFlow Serving, RESTful API: "Predict API" and "Encoding binary values".

    Example:

    >>> request_body([b"abc"], "serving_bytes", rows=True)
    b'{"signature_name": "serving_bytes", "instances": [{"b64": "YWJj"}]}'
    """
    values = request_values(values, signature)
    if isinstance(values, list):
        values = [{"b64": base64.b64encode(file).decode()} for file in values]
    else:
        values = values.tolist()
    key = "instances" if rows else "inputs"
    return json.dumps({"signature_name": signature, key: values}).encode()


def read_reply(reply, names):
    """Reads the answer to a `predict` request, of either format.

    Args:
        reply: Dict, the JSON object.
        names: Names of the signature's outputs. A server leaves out the name of an
            only output.

    Returns:
        Dict of arrays, float32 or str.

    Example:

    >>> read_reply({"predictions": [{"a": 1, "b": "x"}]}, ["a", "b"])["a"]
    array([1.], dtype=float32)
    """
    columns = reply.get("outputs")
    if columns is None:
        rows = reply["predictions"]
        single = not isinstance(rows[0], dict)
        columns = rows if single else {key: [r[key] for r in rows] for key in rows[0]}
    if not isinstance(columns, dict):
        columns = {names[0]: columns}
    return {key: _array(value) for key, value in columns.items()}


class RestClient:
    """Asks a model through the REST interface.

    Args:
        url: str, `http://host:8501/v1/models/NAME`, or that and `/versions/2`.
        timeout: float, seconds to wait for an answer.

    Raises:
        ValueError: If the address is not one of a model.
        ServingError: From every method, for a server that cannot be reached or
            refuses.

    Example:

    >>> client = RestClient("http://localhost:8501/v1/models/cifar10_nfm")
    >>> client.predict([png], "serving_bytes")["classes"]  # doctest: +SKIP
    array(['frog'], dtype='<U4')
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or "/v1/models/" not in parts.path:
            raise ValueError(
                "The address must be like http://host:8501/v1/models/NAME. "
                f"Received: {url!r}"
            )
        self.name, self._timeout = url.rstrip("/"), timeout

    def status(self) -> dict[int, str]:
        """Returns a dict from version to state, such as `{1: "AVAILABLE"}`."""
        versions = self._ask("")["model_version_status"]
        return {int(entry["version"]): entry["state"] for entry in versions}

    def metadata(self) -> dict[str, Names]:
        """Returns a dict from signature to `Names`."""
        reply = self._ask("/metadata")["metadata"]["signature_def"]["signature_def"]
        return {
            name: Names.of(signature["inputs"], signature["outputs"])
            for name, signature in reply.items()
            if signature.get("inputs")
        }

    def predict(
        self, values: ArrayLike | list[bytes], signature: str, rows: bool = False
    ) -> dict[str, np.ndarray]:
        """Returns a dict of outputs, arrays of float32 or str; see `request_body`."""
        reply = self._ask(":predict", request_body(values, signature, rows))
        content = reply.get("outputs", reply.get("predictions"))
        named = isinstance(content if "outputs" in reply else content[0], dict)
        names = [] if named else self.metadata()[signature].outputs
        return read_reply(reply, names)

    def _ask(self, what, body=None):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.name + what, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise ServingError(error.code, _message(error.read())) from None
        except (OSError, ValueError) as error:
            raise ServingError(None, f"No answer from {self.name}: {error}") from None


class GrpcClient:
    """Asks a model through the gRPC interface.

    Args:
        address: str, `host:8500`.
        model: str, the name of the model.
        timeout: float, seconds to wait for an answer.

    Raises:
        RuntimeError: If the stubs are not installed.
        ServingError: From every method, for a server that cannot be reached or
            refuses.

    Example:

    >>> GrpcClient("localhost:8500", "cifar10_nfm").status()  # doctest: +SKIP
    {1: 'AVAILABLE'}
    """

    def __init__(self, address: str, model: str, timeout: float = 60.0) -> None:
        self._grpc, self._apis = _stubs()
        self.name, self._model, self._timeout = f"{address} {model}", model, timeout
        # By default an answer of more than 4 MB is refused, here and not there.
        limits = [(f"grpc.max_{way}_message_length", -1) for way in ("receive", "send")]
        channel = self._grpc.insecure_channel(address, options=limits)
        self._predictions = self._apis.predictions.PredictionServiceStub(channel)
        self._models = self._apis.models.ModelServiceStub(channel)

    def status(self) -> dict[int, str]:
        """Returns a dict from version to state, such as `{1: "AVAILABLE"}`."""
        request = self._apis.status.GetModelStatusRequest()
        reply = self._ask(self._models.GetModelStatus, request)
        state = self._apis.status.ModelVersionStatus.State.Name
        versions = reply.model_version_status
        return {entry.version: state(entry.state) for entry in versions}

    def metadata(self) -> dict[str, Names]:
        """Returns a dict from signature to `Names`."""
        request = self._apis.metadata.GetModelMetadataRequest()
        request.metadata_field.append("signature_def")
        reply = self._ask(self._predictions.GetModelMetadata, request)
        signatures = self._apis.metadata.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(signatures)
        return {
            name: Names.of(signature.inputs, signature.outputs)
            for name, signature in signatures.signature_def.items()
            if signature.inputs
        }

    def predict(
        self, values: ArrayLike | list[bytes], signature: str
    ) -> dict[str, np.ndarray]:
        """Returns a dict of outputs, arrays of float32 or str.

        Args:
            values: As in `request_values`.
            signature: str, the name of one with a single input.

        Raises:
            ValueError: As `request_values`.
        """
        import tensorflow as tf

        values = request_values(values, signature)
        request = self._apis.predict.PredictRequest()
        request.model_spec.signature_name = signature
        # In the models that `export` writes.
        name = "image_bytes" if isinstance(values, list) else "images"
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        reply = self._ask(self._predictions.Predict, request)
        return {name: _array(tf.make_ndarray(x)) for name, x in reply.outputs.items()}

    def _ask(self, method, request):
        request.model_spec.name = self._model
        try:
            return method(request, timeout=self._timeout)
        except self._grpc.RpcError as error:
            raise ServingError(error.code().name, error.details()) from None


class _Apis(NamedTuple):
    predict: object
    predictions: object
    models: object
    status: object
    metadata: object


def _stubs():
    try:
        import grpc
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError as error:
        raise RuntimeError(
            "The gRPC client needs `pip install tensorflow-serving-api`. "
            f"Received: {error}"
        ) from None
    return grpc, _Apis(
        predict_pb2,
        prediction_service_pb2_grpc,
        model_service_pb2_grpc,
        get_model_status_pb2,
        get_model_metadata_pb2,
    )


def _message(body):
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:500].decode(errors="replace")


def _array(values):
    values = np.asarray(values)
    if values.dtype.kind == "O":  # bytes, as gRPC has all strings
        return np.array([value.decode() for value in values.tolist()])
    return values if values.dtype.kind == "U" else values.astype(np.float32)
