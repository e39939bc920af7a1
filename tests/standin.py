"""A stand-in for TensorFlow Serving, to test clients without its binary.

It speaks gRPC through the official messages and services, and REST as the server's
documentation describes it, over a session of the SavedModel. The wire formats are
TensorFlow Serving's; what is done behind them is ours and proves nothing about it: no
batching, no reloading, one version.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import threading

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

CODES = {400: grpc.StatusCode.INVALID_ARGUMENT, 404: grpc.StatusCode.NOT_FOUND}


class Refused(Exception):
    """An HTTP status and a message."""


class Servable:
    """A version folder under a name, run by a session, as the server does."""

    def __init__(self, path, name):
        self.name, self.version = name, int(pathlib.Path(path).name)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = {
            key: value for key, value in meta.signature_def.items() if value.inputs
        }

    def signature(self, name):
        if name not in self.signatures:
            raise Refused(400, f'Serving signature name: "{name}" not found')
        return self.signatures[name]

    def predict(self, name, inputs):
        signature = self.signature(name)
        if inputs.keys() != signature.inputs.keys():
            raise Refused(400, f"inputs must be {set(signature.inputs)}")
        feed = {signature.inputs[key].name: value for key, value in inputs.items()}
        fetch = {key: value.name for key, value in signature.outputs.items()}
        try:
            return self.session.run(fetch, feed)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise Refused(400, str(error)) from None

    def check(self, spec, message="Servable not found for request: Latest({})"):
        wrong = spec.HasField("version") and spec.version.value != self.version
        if spec.name != self.name or wrong:
            raise Refused(404, message.format(spec.name))

    def status(self, spec):
        self.check(spec, "Could not find any versions of model {}")
        reply = get_model_status_pb2.GetModelStatusResponse()
        state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        reply.model_version_status.add(version=self.version, state=state)
        reply.model_version_status[0].status.SetInParent()
        return reply

    def signature_map(self):
        found = get_model_metadata_pb2.SignatureDefMap()
        for key, value in self.signatures.items():
            found.signature_def[key].CopyFrom(value)
        return found


@contextlib.contextmanager
def serve(path, name):
    """Serves a version folder; yields the two addresses."""
    servable = Servable(path, name)
    unlimited = [("grpc.max_receive_message_length", -1)]
    pool = concurrent.futures.ThreadPoolExecutor(2)
    server = grpc.server(pool, options=unlimited)
    service = Service(servable)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    handler = type("Bound", (Handler,), {"servable": servable})
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{rest.server_port}", f"127.0.0.1:{port}"
    finally:
        rest.shutdown()
        rest.server_close()
        server.stop(None)


class Service(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, servable):
        self.servable = servable

    def Predict(self, request, context):
        return self._answer(self._predict, request, context)

    def GetModelMetadata(self, request, context):
        return self._answer(self._metadata, request, context)

    def GetModelStatus(self, request, context):
        spec = request.model_spec
        return self._answer(lambda _: self.servable.status(spec), request, context)

    def _answer(self, method, request, context):
        try:
            return method(request)
        except Refused as error:
            status, message = error.args
            context.abort(CODES[status], message)

    def _predict(self, request):
        self.servable.check(request.model_spec)
        inputs = {key: tf.make_ndarray(each) for key, each in request.inputs.items()}
        name = request.model_spec.signature_name or "serving_default"
        for key, info in self.servable.signature(name).inputs.items():
            _check_dtype(request.inputs[key].dtype, info.dtype)
        reply = predict_pb2.PredictResponse()
        for key, value in self.servable.predict(name, inputs).items():
            reply.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return reply

    def _metadata(self, request):
        self.servable.check(request.model_spec)
        if list(request.metadata_field) != ["signature_def"]:
            raise Refused(400, "Only the metadata field signature_def is supported")
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.metadata["signature_def"].Pack(self.servable.signature_map())
        return reply


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self._send(self._get)

    def do_POST(self):
        self._send(self._post)

    def log_message(self, *_):
        pass

    def _send(self, method):
        try:
            status, reply = 200, method()
        except Refused as error:
            status, message = error.args
            reply = {"error": message}
        body = json.dumps(reply, indent=4).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _check(self, end, message):
        if self.path != f"/v1/models/{self.servable.name}{end}":
            name = self.path.removeprefix("/v1/models/").removesuffix(end)
            raise Refused(404, message.format(name))

    def _get(self):
        if not self.path.endswith("/metadata"):
            self._check("", "Could not find any versions of model {}")
            spec = get_model_status_pb2.GetModelStatusRequest().model_spec
            spec.name = self.servable.name
            return _json(self.servable.status(spec))
        self._check("/metadata", "Servable not found for request: Latest({})")
        found = _json(self.servable.signature_map())
        spec = {"name": self.servable.name, "version": str(self.servable.version)}
        return {"model_spec": spec, "metadata": {"signature_def": found}}

    def _post(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._check(":predict", "Servable not found for request: Latest({})")
        try:
            request = json.loads(body)
        except ValueError as error:
            raise Refused(400, f"JSON Parse error: {error}") from None
        if ("instances" in request) == ("inputs" in request):
            raise Refused(400, "Missing 'inputs' or 'instances' key, or both are there")
        name = request.get("signature_name", "serving_default")
        ((key, info),) = self.servable.signature(name).inputs.items()
        rows = "instances" in request
        values = _decoded(request["instances" if rows else "inputs"])
        dtype = tf.dtypes.as_dtype(info.dtype).as_numpy_dtype
        _check_json(values, np.dtype(dtype))
        try:
            inputs = {key: np.array(values, dtype)}
        except (ValueError, TypeError) as error:
            raise Refused(400, f"Failed to convert the tensor: {error}") from None
        return _reply(self.servable.predict(name, inputs), rows)


def _check_dtype(given, expected):
    """The server's session casts nothing."""
    if given != expected:
        names = [tf.dtypes.as_dtype(each).name for each in (expected, given)]
        raise Refused(400, "Expects arg[0] to be {} but {} is provided".format(*names))


def _check_json(value, dtype):
    """The server's parser takes no fraction for an integer, nothing but numbers."""
    if isinstance(value, list):
        for each in value:
            _check_json(each, dtype)
    elif dtype.kind in "uif":
        integer = isinstance(value, int) and not isinstance(value, bool)
        if not integer and (dtype.kind != "f" or not isinstance(value, float)):
            raise Refused(400, f"JSON Value: {value} Type is not of expected type")


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (KeyError, ValueError) as error:
            raise Refused(400, f"JSON Value is not a base64 object: {error}") from None
    return value


def _reply(outputs, rows):
    columns = {key: _listed(value) for key, value in outputs.items()}
    if len(columns) == 1:
        (content,) = columns.values()
    elif rows:
        content = [dict(zip(columns, row)) for row in zip(*columns.values())]
    else:
        content = columns
    return {"predictions" if rows else "outputs": content}


def _listed(value):
    if value.dtype == object:
        return [each.decode() for each in value]
    return value.tolist()


def _json(message):
    options = {"preserving_proto_field_name": True}
    return json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, **options
    )


def meta_graph(path):
    """The `MetaGraphDef` of a version folder."""
    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((pathlib.Path(path) / "saved_model.pb").read_bytes())
    return proto.meta_graphs[0]
