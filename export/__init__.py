"""What makes models/: from MNIST to two verified files and their card.

The modules, in the order in which they are best read:

    __main__, plan, stages               all in order; how much of it; what depends on what
    checkpoint, files, processes         what is kept, so that nothing is done twice

    sources, data, fonts                 MNIST and fonts, checked
    strokes, marks, glyphs               a sign: drawn, MNIST's with additions, or printed
    sheets, camera, damage, scenes       signs on a sheet, photographed: a scene
    feed                                 batches of scenes, made ahead

    layers, locator, placer, network     the networks; the last is the classifier
    train                                the loop that trains any of them
    targets, train_locator, settle       what the locator learns, and how it settles
    train_placer                         what the placer learns
    harvest                              crops for the classifier, cut from scenes
    augment, train_digit, distill        what the classifiers learn, the last from all of them

    shrink, quantize, crops, to_onnx     trained networks to the bytes of files
    evaluate, report, metadata           what they reach, and what the files say about themselves
    contract, verify, trial              what a file must be, do, and reach in the server
    card, release                        the page about it; all from evaluation to models/

    evidence, reread, figure             commands of their own: how much a score should count; what
                                         the files in models/ read; the figures of docs/reading.md
"""

import os

# As in server/model.py: here, too, onnxruntime has to find its telemetry switched off.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
