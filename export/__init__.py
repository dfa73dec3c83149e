"""Everything that makes models/: from MNIST to two verified files and their model card.

The modules, in the order in which they are best read:

    __main__, plan, stages               all stages in order; their size; their dependencies
    checkpoint, files, processes         results on disk, so that no work is repeated

    sources, data, fonts                 MNIST and fonts, verified by checksum
    strokes, marks, glyphs               one sign: drawn, MNIST's with additions, or printed
    sheets, camera, damage, scenes       signs on a sheet, photographed: a scene
    feed                                 batches of scenes, composed ahead of time

    layers, locator, placer, network     the networks; the last is the classifier
    train                                the training loop of all of them
    targets, train_locator, settle       the locator: targets, training, fine-tuning
    train_placer                         the placer's training
    harvest                              crops for the classifier, cut from scenes
    augment, train_digit, distill        the classifiers: augmentation, training, distillation

    shrink, quantize, crops, to_onnx     trained networks to ONNX files
    evaluate, report, metadata           metrics, and what the files say about themselves
    contract, verify, trial              checks of the files: form, parity, accuracy in the server
    card, release                        the model card; the steps from evaluation to models/

    evidence, reread, figure             commands: fit the weight of a score; measure the files in
                                         models/ again; draw the figures of docs/reading.md
"""

import os

# onnxruntime sends telemetry unless this is set before it is imported; see server/model.py.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
