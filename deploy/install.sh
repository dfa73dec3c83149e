#!/bin/sh
# What an image holds of Python packages, in one folder: sh deploy/install.sh FOLDER
# The Dockerfile runs it, and whoever wants to know what the image weighs without an engine.
set -eu
python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
    --target "$1" --require-hashes --requirement "$(dirname "$0")/../requirements.lock"
# 35 of 158 MB are onnxruntime once more, for programs in C; Python's module has it inside.
rm -f "$1"/onnxruntime/capi/libonnxruntime.so.*
# 16 are for people who write models or extensions, or test libraries.
rm -rf "$1/bin" "$1/onnxruntime/tools" "$1/onnxruntime/transformers" \
    "$1/onnxruntime/quantization" "$1/onnxruntime/datasets" "$1/numpy/f2py" "$1/numpy/distutils"
find "$1" -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
find "$1" -type f \( -name '*.pyi' -o -name '*.a' -o -name '*.h' \) -delete
# Compiled here, as a root file system that is read-only keeps what is compiled later nowhere.
python3 -m compileall -q "$1"
