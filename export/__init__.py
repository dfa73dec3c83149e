"""What makes models/: data, training, evaluation, ONNX, verification, model card."""

import os

# As in server/model.py: here, too, onnxruntime has to find its telemetry switched off.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
