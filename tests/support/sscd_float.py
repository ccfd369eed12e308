"""A float run of sscd.onnx: the reference that its converted weights are held against."""

from __future__ import annotations

import numpy as np


def float_graph(path):
    """Return the bytes of sscd.onnx without its activations' quantisation.

    Weights and biases stay behind their DequantizeLinear, so ONNX Runtime dequantises them itself.
    Each QuantizeLinear / DequantizeLinear pair of activations goes; a Relu stays where its zero
    point is the type's lowest value, since the pair clamped there and the file has no Relu nodes.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(path))
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    quantisers = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    nodes, pairs, relus = [], 0, 0
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type == "DequantizeLinear" and node.input[0] in quantisers:
            source = quantisers[node.input[0]]
            zero_point = constants[source.input[2]]
            clamps = int(zero_point) == np.iinfo(zero_point.dtype).min
            operation = "Relu" if clamps else "Identity"
            nodes.append(helper.make_node(operation, [source.input[0]], [node.output[0]]))
            pairs, relus = pairs + 1, relus + clamps
            continue
        nodes.append(node)
    assert pairs == len(quantisers), (pairs, len(quantisers))
    # 53 convolutions, of which the last of 16 blocks and 4 shortcuts have none; 16 sums; the pool.
    assert relus == 53 - 16 - 4 + 16 + 1, relus
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def session(model):
    """Return a function (n, 224, 224, 3) uint8 -> (n, 512) float32, unit length."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3  # not one line for every constant that is left over
    run = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run
    return lambda pictures: run(None, {"image": pictures})[0]


def squashed(paths, size=224):
    """Return photographs resized to a square, (n, size, size, 3) uint8."""
    from PIL import Image

    square = (size, size)
    return np.stack(
        [
            np.asarray(Image.open(p).convert("RGB").resize(square, Image.Resampling.BILINEAR))
            for p in paths
        ]
    )
