#!/bin/sh
# Installs the Python packages of the image into one folder: sh deploy/install.sh FOLDER
# The Dockerfile runs it; run it by hand to measure the image's size without a container engine.
set -eu
python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
    --target "$1" --require-hashes --requirement "$(dirname "$0")/../requirements.lock"
# 35 of 158 MB are a second copy of onnxruntime, for C programs; the Python module contains its own.
rm -f "$1"/onnxruntime/capi/libonnxruntime.so.*
# 16 MB are tools for converting models, building extensions and testing the libraries.
rm -rf "$1/bin" "$1/onnxruntime/tools" "$1/onnxruntime/transformers" \
    "$1/onnxruntime/quantization" "$1/onnxruntime/datasets" "$1/numpy/f2py" "$1/numpy/distutils"
find "$1" -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +
find "$1" -type f \( -name '*.pyi' -o -name '*.a' -o -name '*.h' \) -delete
# Compile now: with a read-only root file system, bytecode cannot be cached later.
python3 -m compileall -q "$1"
