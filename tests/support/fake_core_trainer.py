"""A network of two layers in NumPy that stands for the core's, so that the loop is tested fast.

`install` puts it in place of `_core.parameter_table`, `_core.Network` and `_core.Trainer`. Pictures
are averaged to a 4 x 4 grid; two 1x1 convolutions with batch norm and ReLU; the 256 values are
repeated to 2048 features. Gradients are exact, in float64.
"""

import numpy as np

GRID, REPEAT, EPS = 4, 8, 1e-5
LAYERS = (("conv1", "bn1", 3, 8), ("layer1.0.conv1", "layer1.0.bn1", 8, 16))


def parameter_table(architecture, num_classes, /):
    table = []
    for conv, norm, inputs, outputs in LAYERS:
        table.append((f"{conv}.weight", (outputs, inputs, 1, 1)))
        leaves = ("weight", "bias", "running_mean", "running_var")
        table += [(f"{norm}.{leaf}", (outputs,)) for leaf in leaves]
    if num_classes:
        table += [("fc.weight", (num_classes, 2048)), ("fc.bias", (num_classes,))]
    return table


class Network:
    num_features = 2048

    def __init__(self, architecture, num_classes, parameters, ranges=None):
        self.architecture, self.num_classes = architecture, num_classes
        self.table = parameter_table(architecture, num_classes)
        self.values = {
            name: np.array(value, np.float32)
            for (name, _), value in zip(self.table, parameters, strict=True)
        }
        for name, shape in self.table:
            assert self.values[name].shape == shape, name

    def parameters(self):
        return [self.values[name].copy() for name, _ in self.table]

    def _run(self, pixels, statistics=None):
        x = grid(pixels)
        for i, (conv, norm, _, _) in enumerate(LAYERS):
            x = convolve(x, self.values[f"{conv}.weight"])
            if statistics is not None:
                statistics[norm] = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
            mean, var = self.values[f"{norm}.running_mean"], self.values[f"{norm}.running_var"]
            x = (x - mean[:, None]) / np.sqrt(var[:, None].astype(np.float64) + EPS)
            gain, bias = self.values[f"{norm}.weight"], self.values[f"{norm}.bias"]
            x = np.maximum(x * gain[:, None] + bias[:, None], 0)
            assert i < 2
        return features_of(x)

    def features(self, pixels, gem=False, num_threads=0, precision="float32"):
        return self._run(pixels).astype(np.float32)

    def head(self, features):
        return features @ self.values["fc.weight"].T + self.values["fc.bias"]

    def conv_statistics(self, pixels, num_threads=0):
        found = {}
        self._run(pixels, found)
        out = {name: np.zeros(shape, np.float32) for name, shape in self.table}
        for norm, (mean, var) in found.items():
            out[f"{norm}.running_mean"] = mean.astype(np.float32)
            out[f"{norm}.running_var"] = var.astype(np.float32)
        return list(out.values())


class Trainer:
    def __init__(self, architecture, num_classes, parameters):
        self._net = Network(architecture, num_classes, parameters)
        self.names = [name for name, _ in self._net.table]
        self.step_count = 0
        self._moments = {k: self._zeros() for k in ("m", "v")}
        self._ema = None
        self._grads = self._zeros()
        self._pending = []
        self._kind = None
        self.configure("train", [True] * len(self.names))

    def _zeros(self):
        return {n: np.zeros(s, np.float32) for n, s in self._net.table}

    def configure(self, bn, trainable, bn_momentum=0.1, precision="float32"):
        assert bn in ("train", "frozen_stats", "frozen")
        assert len(trainable) == len(self.names)
        self.bn, self.momentum = bn, bn_momentum
        self.trainable = dict(zip(self.names, trainable, strict=True))

    def forward(self, pixels, num_threads=0):
        assert pixels.dtype == np.float32
        value, self._tape, stats = self._net.values, [], {}
        x = grid(pixels)
        for conv, norm, _, _ in LAYERS:
            y = convolve(x, value[f"{conv}.weight"])
            if self.bn == "train":
                mean, var = y.mean(axis=(0, 2)), y.var(axis=(0, 2))
                stats[norm] = mean, var * y[:, 0].size / max(y[:, 0].size - 1, 1)
            else:
                mean, var = (
                    value[f"{norm}.running_{s}"].astype(np.float64) for s in ("mean", "var")
                )
            scale = 1 / np.sqrt(var + EPS)
            normal = (y - mean[:, None]) * scale[:, None]
            z = normal * value[f"{norm}.weight"][:, None] + value[f"{norm}.bias"][:, None]
            self._tape.append((x, normal, scale, z > 0))
            x = np.maximum(z, 0)
        self._stats = stats
        self._features = features_of(x).astype(np.float32)
        self._d_logits = np.zeros((len(x), self._net.num_classes))
        return self._features.copy()

    def head_loss(self, targets, weights=None):
        assert targets.dtype == np.float32
        logits = self._net.head(self._features)
        wide = logits.astype(np.float64)
        wide -= wide.max(axis=1, keepdims=True)
        log_p = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
        share = np.ones(len(targets)) if weights is None else weights.astype(np.float64)
        share = share / max(share.sum(), 1e-30)  # pictures of weight 0 teach nothing
        self._d_logits = (np.exp(log_p) * targets.sum(1, keepdims=True) - targets) * share[:, None]
        return float(-((targets * log_p).sum(axis=1) * share).sum()), logits

    def backward(self, d_features=None, accumulate=False, scale=1.0):
        value, grads = self._net.values, {}
        d = np.zeros(self._features.shape)
        if self._net.num_classes:
            grads["fc.weight"] = self._d_logits.T @ self._features
            grads["fc.bias"] = self._d_logits.sum(axis=0)
            d = self._d_logits @ value["fc.weight"].astype(np.float64)
        if d_features is not None:
            assert d_features.dtype == np.float32
            d = d + d_features
        d = d.reshape(len(d), REPEAT, 16, GRID * GRID).sum(axis=1)
        for (conv, norm, _, _), (x, normal, scale_, open_) in zip(
            LAYERS[::-1], self._tape[::-1], strict=True
        ):
            d = d * open_
            grads[f"{norm}.weight"] = (d * normal).sum(axis=(0, 2))
            grads[f"{norm}.bias"] = d.sum(axis=(0, 2))
            d = d * value[f"{norm}.weight"][:, None]
            if self.bn == "train":
                d = (
                    d
                    - d.mean(axis=(0, 2))[:, None]
                    - normal * (d * normal).mean(axis=(0, 2))[:, None]
                )
            d = d * scale_[:, None]
            weight = value[f"{conv}.weight"][:, :, 0, 0].astype(np.float64)
            grads[f"{conv}.weight"] = np.einsum("nop,nip->oi", d, x)[:, :, None, None]
            d = np.einsum("oi,nop->nip", weight, d)
        for name in self.names:
            fresh = grads[name] * scale if name in grads and self.trainable[name] else 0.0
            before = self._grads[name] if accumulate else 0.0
            self._grads[name] = (before + fresh + np.zeros_like(value[name])).astype(np.float32)
        if not accumulate:
            self._pending = []
        self._pending.append(self._stats)
        self._stats = None

    def gradients(self):
        return [self._grads[name].copy() for name in self.names]

    def grad_norm(self, num_threads=0):
        return float(np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in self._grads.values())))

    def apply(self, kind, lr, weight_decay, *, momentum=0.9, nesterov=False, beta1=0.9,
              beta2=0.999, eps=1e-8, grad_scale=1.0, ema_decay=0.0, num_threads=0):  # fmt: skip
        assert lr.dtype == weight_decay.dtype == np.float32
        if getattr(self, "_stats", None):
            self._pending.append(self._stats)
            self._stats = None
        self._kind, t, value = kind, self.step_count + 1, self._net.values
        for i, name in enumerate(self.names):
            if not self.trainable[name] or "running" in name:
                continue
            g, p = self._grads[name] * np.float32(grad_scale), value[name]
            m, v = self._moments["m"], self._moments["v"]
            if kind == "adamw":
                p *= np.float32(1 - lr[i] * weight_decay[i])
                m[name] = (beta1 * m[name] + (1 - beta1) * g).astype(np.float32)
                v[name] = (beta2 * v[name] + (1 - beta2) * g**2).astype(np.float32)
                hat = m[name] / (1 - beta1**t) / (np.sqrt(v[name] / (1 - beta2**t)) + eps)
            else:
                g = g + weight_decay[i] * p
                m[name] = (momentum * m[name] + g).astype(np.float32)
                hat = g + momentum * m[name] if nesterov else m[name]
            p -= (lr[i] * hat).astype(np.float32)
        for stats in self._pending:
            for norm, found in stats.items():
                for leaf, fresh in zip(("mean", "var"), found, strict=True):
                    old = value[f"{norm}.running_{leaf}"]
                    old += (self.momentum * (fresh - old)).astype(np.float32)
        self._pending = []
        if ema_decay:
            if self._ema is None:
                self._ema = {n: a.copy() for n, a in value.items()}
            for name, mean in self._ema.items():
                mean += (np.float32(1 - ema_decay) * (value[name] - mean)).astype(np.float32)
        self.step_count = t

    def parameters(self):
        return self._net.parameters()

    def set_parameters(self, parameters):
        self._net = Network(self._net.architecture, self._net.num_classes, parameters)

    def moments(self):
        kinds = ("m",) if self._kind == "sgd" else ("m", "v")
        return {k: [self._moments[k][n].copy() for n in self.names] for k in kinds}

    def set_moments(self, moments, step):
        for kind, arrays in moments.items():
            self._moments[kind] = {
                n: np.array(a, np.float32) for n, a in zip(self.names, arrays, strict=True)
            }
        self.step_count = step

    def ema(self):
        return None if self._ema is None else [self._ema[n].copy() for n in self.names]

    def set_ema(self, arrays):
        self._ema = arrays and {
            n: np.array(a, np.float32) for n, a in zip(self.names, arrays, strict=True)
        }

    def network(self, ema=False):
        values = self.ema() if ema else self.parameters()
        assert values is not None, "no mean of the weights yet"
        return Network(self._net.architecture, self._net.num_classes, values)


def grid(pixels):
    n, c, h, w = pixels.shape
    cells = pixels.reshape(n, c, GRID, h // GRID, GRID, w // GRID).mean(axis=(3, 5))
    return cells.reshape(n, c, GRID * GRID).astype(np.float64)


def convolve(x, weight):
    return np.einsum("oi,nip->nop", weight[:, :, 0, 0].astype(np.float64), x)


def features_of(x):
    return np.tile(x.reshape(len(x), -1), (1, REPEAT))


def install(patch):
    """Put the stand-ins in place; `patch` is pytest's monkeypatch."""
    from birdembed import _core

    patch.setattr(_core, "parameter_table", parameter_table)
    patch.setattr(_core, "Network", Network)
    patch.setattr(_core, "Trainer", Trainer, raising=False)
