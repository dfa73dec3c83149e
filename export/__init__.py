"""What makes models/: data, training, evaluation, ONNX, verification, model card."""
