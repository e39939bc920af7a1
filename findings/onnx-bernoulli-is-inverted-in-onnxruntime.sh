#!/usr/bin/env bash
# Ground: random masks in an exported network; ONNX and ONNX Runtime.
# Guess: Bernoulli draws 1 with the probability that its input gives.
# Seen: onnxruntime draws 1 with probability 1 - p: 0.99 for 0.01, and nothing but 0 for 1.
#   It has no kernel and takes the body that the standard gives for the operator, whose
#   comparison is the other way round; the reference implementation in the onnx package
#   has one of its own, and draws 1 with probability p.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Bernoulli", ["p"], ["drawn"], seed=2.0)],
    "bernoulli",
    [value("p", TensorProto.FLOAT, [None])],
    [value("drawn", TensorProto.FLOAT, [None])],
)
opset = helper.make_opsetid("", 18)
model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"]
)
reference = ReferenceEvaluator(model)
as_stated = True
for p in (0.0, 0.01, 0.3, 1.0):
    fed = {"p": np.full(100_000, p, "float32")}
    runtime = session.run(None, fed)[0].mean()
    expected = reference.run(None, fed)[0].mean()
    print(f"p = {p}: onnxruntime draws 1 in {runtime:.4f}, the reference in {expected:.4f}")
    as_stated &= abs(runtime - (1 - p)) < 0.01 and abs(expected - p) < 0.01
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
