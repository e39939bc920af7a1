"""Clients of a running TensorFlow Serving: REST and gRPC, asked and answering alike.

REST needs the standard library alone; gRPC the stubs of `tensorflow-serving-api`.
"""

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.checks import check_number
from nfm_keras.serving.requests import (
    ServingError,
    array_of,
    columns_of,
    expecting,
    read_reply,
    request_body,
    request_values,
)

# What stands behind the host, of printable ASCII alone: HTTP takes no other.
_PATH = re.compile(r"(/[!-~]*)?/v1/models/[^/:\s]+(/versions/\d+|/labels/[^/:\s]+)?")


class Names(NamedTuple):
    """Names of a signature's inputs and outputs, sorted."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, inputs, outputs):
        """Returns the sorted names of two iterables of them."""
        return cls(tuple(sorted(inputs)), tuple(sorted(outputs)))


class RestClient:
    """Asks a model through the REST interface.

    Args:
        url: str, `http://host:8501/v1/models/NAME`, or that and `/versions/2`.
        timeout: float, seconds to wait for an answer.

    Raises:
        ValueError: If the address is not one of a model, or the time none.
        ServingError: From every method, for a server that cannot be reached or
            refuses.

    Example:

    >>> client = RestClient("http://localhost:8501/v1/models/cifar10_nfm")
    >>> client.predict([png], "serving_bytes")["classes"]  # doctest: +SKIP
    array(['frog'], dtype='<U4')
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        check_number("timeout", timeout, above=0)
        if not _is_address(url):
            raise ValueError(
                "The address must be like http://host:8501/v1/models/NAME. "
                f"Received: {url!r}"
            )
        self.name, self._timeout = url.rstrip("/"), timeout

    def status(self) -> dict[int, str]:
        """Returns a dict from version to state, such as `{1: "AVAILABLE"}`."""
        reply = self._ask("")
        with expecting("the state of versions", reply):
            versions = reply["model_version_status"]
            return {int(entry["version"]): entry["state"] for entry in versions}

    def metadata(self) -> dict[str, Names]:
        """Returns a dict from signature to `Names`."""
        reply = self._ask("/metadata")
        with expecting("signatures", reply):
            signatures = reply["metadata"]["signature_def"]["signature_def"]
            return {
                name: Names.of(signature["inputs"], signature["outputs"])
                for name, signature in signatures.items()
                if signature.get("inputs")
            }

    def predict(
        self, values: ArrayLike | list[bytes], signature: str, rows: bool = False
    ) -> dict[str, np.ndarray]:
        """Returns a dict of outputs, arrays of float32 or str.

        Args:
            values: Images, float in [0, 1] or uint8, `(batch, height, width,
                channels)`, or a list of the bytes of files.
            signature: str, the name of one with a single input.
            rows: Send `instances` instead of `inputs`; the answer is the same.

        Raises:
            ValueError: For values that do not go with the signature.
            ServingError: If the server refuses, or does not answer.
        """
        reply = self._ask(":predict", request_body(values, signature, rows))
        with expecting("outputs", reply):
            named = isinstance(columns_of(reply), dict)
            names = [] if named else self.metadata()[signature].outputs
        return read_reply(reply, names)

    def _ask(self, what, body=None):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.name + what, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise ServingError(error.code, _message(error)) from None
        except http.client.HTTPException as error:
            raise ServingError(
                None,
                f"No answer in HTTP from {self.name}: is this the REST port? "
                f"Received: {error!r:.200}",
            ) from None
        except (OSError, ValueError) as error:
            raise ServingError(None, f"No answer from {self.name}: {error}") from None
        with expecting("JSON", content):
            return json.loads(content)


class GrpcClient:
    """Asks a model through the gRPC interface.

    Args:
        address: str, `host:8500`.
        model: str, the name of the model.
        timeout: float, seconds to wait for an answer.

    Raises:
        RuntimeError: If the stubs are not installed.
        ValueError: If the address or the name cannot be one, or the time none.
        ServingError: From every method, for a server that cannot be reached or
            refuses.

    Example:

    >>> GrpcClient("localhost:8500", "cifar10_nfm").status()  # doctest: +SKIP
    {1: 'AVAILABLE'}
    """

    def __init__(self, address: str, model: str, timeout: float = 60.0) -> None:
        check_number("timeout", timeout, above=0)
        texts = all(isinstance(text, str) and text for text in (address, model))
        if not texts or re.match("https?:", address):
            raise ValueError(
                "The address must be like host:8500, and the model's name not empty. "
                f"Received: {address!r}, {model!r}"
            )
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
        return {name: array_of(tf.make_ndarray(x)) for name, x in reply.outputs.items()}

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


def _is_address(url):
    """Whether an address can be one of a model."""
    try:
        parts = urllib.parse.urlsplit(url)
        given = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, AttributeError, TypeError):  # a port that is no number
        return False
    path = str(parts.path).rstrip("/")
    clean = re.fullmatch("[!-~]+", str(url)) and not (parts.query or parts.fragment)
    return bool(given and clean and _PATH.fullmatch(path))


def _message(error):
    body = b""
    try:
        body = error.read()
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return body[:500].decode(errors="replace")
