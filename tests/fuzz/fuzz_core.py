"""Call every entry point of birdembed._core with arguments that are partly or wholly odd.

    python tests/fuzz/fuzz_core.py SECONDS [SEED]

Ends with exit code 0 unless the process dies or something other than Python's and the package's
own errors comes back. To be run with an extension that was built under a sanitizer as well; by
tests/fuzz/watch.py, which tells with which call it hangs or dies.
"""

import os
import random
import resource
import sys
import threading
import time

import numpy as np

from birdembed import _core
from tests.fuzz import watch

EXPECTED = (
    TypeError,
    ValueError,
    OverflowError,
    IndexError,
    MemoryError,
    OSError,
    RuntimeError,
    _core.BirdembedError,
)
INTS = [0, 1, -1, 2, 3, 8, 31, 32, 33, 64, 513, 1024, 1025, 10**6]
INTS += [2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63), 2**64, -(2**31)]
FLOATS = [0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 1e-320, 1e-30, 1e30, 1e300, -1e300]
FLOATS += [float("nan"), float("inf"), -float("inf")]
WORDS = ["", "bilinear", "bicubic", "squash", "shortest", "default", "turned", "robust", "strong"]
WORDS += ["train", "frozen", "frozen_stats", "sgd", "adamw", "bfloat16", "resnet50", "resnet50d"]
WORDS += ["brightness", "equalize", "sharpness", "\0", "\udc80", "\ud800", "x" * 3000, "/", "."]
DTYPES = ["u1", "f4", "i8", ">f4", "f8", "i4", "?", "c8", "O", "S3"]
ARCHITECTURE = "resnet50"

rng = random.Random()


class Sly(list):
    """A sequence whose items are handed out by code that does something else as well."""

    def __init__(self, items, trick):
        super().__init__(items)
        self.trick = trick

    def __getitem__(self, i):
        if rng.random() < 0.02:
            self.trick()
        return super().__getitem__(i)

    def __len__(self):
        return super().__len__() + (rng.random() < 0.02)


class SlyNumber:
    def __init__(self, value, trick):
        self.value, self.trick = value, trick

    def __float__(self):
        self.trick()
        return float(self.value)

    def __index__(self):
        self.trick()
        return int(self.value)


def array(dtype="f4", *shape):
    """An array of about that kind: sometimes not contiguous, read-only, or of odd values."""
    if rng.random() < 0.03:
        dtype = rng.choice(DTYPES)
    shape = tuple(rng.choice([0, 1, 2, 33]) if rng.random() < 0.03 else n for n in shape)
    made = np.zeros(shape, dtype)
    if made.dtype.kind == "f":
        with np.errstate(over="ignore"):
            made[...] = rng.choice([*FLOATS, 0.3, 0.3, 0.3]) if rng.random() < 0.3 else 0.1
    elif made.dtype.kind in "iu" and rng.random() < 0.5:
        made[...] = rng.choice([1, 2, 77])
        if made.dtype == "i8" and made.size and rng.random() < 0.3:
            made.flat[rng.randrange(made.size)] = rng.choice([-1, 2**40, -(2**63), 2**63 - 1])
    choice = rng.random()
    if choice < 0.02:
        made = made[..., ::-1]
    elif choice < 0.04:
        made.flags.writeable = False
    elif choice < 0.06:
        made = np.asfortranarray(made)
    return made


def number():
    return rng.choice([rng.choice(INTS), rng.choice(FLOATS), rng.randrange(100)])


def odd():
    return rng.choice(
        [
            None,
            number(),
            rng.choice(WORDS),
            rng.choice(WORDS).encode("utf-8", "surrogatepass"),
            (),
            [],
            {},
            object(),
            array("f4", 2, 3),
            array("u1", 4, 4, 3),
            np.float32(1),
            np.array(5),
            int,
            Sly([1, 2], lambda: None),
        ]
    )


def mutated(args):
    """The arguments as they are, or with one or two of them replaced."""
    args = list(args)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2])):
        at = rng.randrange(len(args)) if args else None
        if at is None:
            break
        now = args[at]
        if isinstance(now, tuple) and now and rng.random() < 0.7:
            inner = list(now)
            inner[rng.randrange(len(inner))] = number()
            args[at] = tuple(inner)
        elif isinstance(now, bool):
            args[at] = odd()
        elif isinstance(now, int) and rng.random() < 0.8:
            args[at] = rng.choice(INTS)
        elif isinstance(now, float) and rng.random() < 0.8:
            args[at] = rng.choice(FLOATS)
        elif isinstance(now, str) and rng.random() < 0.8:
            args[at] = rng.choice(WORDS)
        else:
            args[at] = odd()
    if rng.random() < 0.02 and args:
        args.pop()
    return args


def few():
    return rng.choice([0, 1, 2, 3])


def file_bytes():
    return rng.choice([b"", b"BM" + bytes(60), b"\xff\xd8\xff", b"GIF89a" + bytes(30)])


def source():
    return rng.choice([array("u1", few(), 5, rng.choice([1, 3, 4, 2])), file_bytes(), "none.jpg"])


def images(n):
    return [array("u1", rng.choice([1, 2, 40]), rng.choice([1, 3, 50]), 3) for _ in range(n)]


def rest_of_preprocess():
    return (0.9, "bicubic", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def ops(trick):
    names = ["brightness", "contrast", "posterize", "equalize", "sharpness"]
    made = [(rng.choice(names), rng.choice(FLOATS)) for _ in range(few())]
    if rng.random() < 0.2:
        made.append(("contrast", SlyNumber(1, trick)))
    return made


def module_calls():
    n = few()
    image = array("u1", 20, 30, 3)
    listed = ops(lambda: (listed.clear(), resized(image)))
    return [
        ("decode", (source(),)),
        ("prepare", ([source() for _ in range(n)], 8, "shortest", *rest_of_preprocess(), 2, True)),
        ("resize", (array("u1", 5, 7, 3), 4, 6, "bilinear")),
        ("will_need", (["none.jpg", b"x"],)),
        ("load_images", ([source() for _ in range(n)], 4, 2)),
        (
            "fill_batch",
            (
                images(n),
                array("i8", n),
                rng.choice([None, "default", "strong", "robust", "turned"]),
                *(32, "squash", *rest_of_preprocess(), 1, 2, 2),
            ),
        ),
        (
            "mix_batch",
            (array("f4", n, 3, 4, 4), array("f4", n, 5), array("i8", n), 0.2, 1.0, 1, 2),
        ),
        ("epoch_order", (array("i8", 9), 80, True, 1, 2)),
        ("draw_view", ("strong", 30, 40, 16, 1, 2, 3)),
        (
            "render_view",
            (
                image,
                16,
                "bilinear",
                (1, 2, 20, 10),
                True,
                tuple(rng.choice([1.0, 0.5, rng.choice(FLOATS)]) for _ in range(6)),
                listed,
            ),
        ),
        (
            "cosine_topk",
            (
                array("f4", n, 7),
                array("f4", 9, 7),
                3,
                rng.random() < 0.5,
                rng.choice([None, array("i8", 4)]),
            ),
        ),
        ("cosine_matrix", (array("f4", n, 7), array("f4", 9, 7))),
        ("search_isa", ()),
        ("set_num_threads", (rng.choice([0, 1, 2]),)),
        ("get_num_threads", ()),
        ("available_cpus", ()),
        ("parameter_table", (ARCHITECTURE, rng.choice([0, 3]))),
        ("architectures", ()),
        ("linear", (array("f4", n, 6), array("f4", 4, 6))),
        ("backend", ()),
    ]


def resized(made):
    try:
        made.resize((1,) * made.ndim, refcheck=False)
    except ValueError:
        pass


class Objects:
    """A network, a trainer and parameters for them, made anew now and then."""

    def __init__(self):
        self.table = _core.parameter_table(ARCHITECTURE, 3)
        self.parameters = [np.full(shape, 0.01, "f4") for _, shape in self.table]
        self.network = _core.Network(ARCHITECTURE, 3, self.parameters)
        self.trainer = _core.Trainer(ARCHITECTURE, 3, self.parameters)

    def trick(self):
        """What hostile code would do in the middle of another call."""
        call(
            rng.choice(
                [
                    lambda: self.trainer.set_ema(None),
                    lambda: self.trainer.set_moments({}, 0),
                    lambda: resized(rng.choice(self.parameters)),
                    self.restore,
                ]
            )
        )

    def restore(self):
        self.parameters = [np.full(shape, 0.01, "f4") for _, shape in self.table]

    def sequence(self):
        if rng.random() < 0.5:
            return Sly(self.parameters, self.trick)
        return list(self.parameters)

    def methods(self):
        n, side, trainer, network = rng.choice([1, 2]), 32, self.trainer, self.network
        count = len(self.table)
        pixels = array("f4", n, 3, side, side)
        sly = rng.choice([0.5, SlyNumber(0.5, self.trick)])
        return [
            (_core.Network, (ARCHITECTURE, 3, self.sequence())),
            (network.features, (pixels, rng.random() < 0.5, 2)),
            (network.maps, (pixels, 2)),
            (network.head, (array("f4", n, 2048),)),
            (network.conv_statistics, (pixels, 2)),
            (network.parameters, ()),
            (_core.Trainer, (ARCHITECTURE, 3, self.sequence())),
            (
                trainer.configure,
                (
                    rng.choice(["train", "frozen", "frozen_stats"]),
                    Sly([rng.random() < 0.5] * count, self.trick),
                    0.1,
                    rng.choice(["float32", "bfloat16"]),
                ),
            ),
            (trainer.forward, (pixels, 2)),
            (trainer.forward, (pixels, 2)),
            (trainer.head_loss, (array("f4", n, 3), rng.choice([None, array("f4", n)]))),
            (trainer.backward, (rng.choice([None, array("f4", n, 2048)]), False, sly)),
            (trainer.grad_norm, (2,)),
            (trainer.apply, (*("sgd", array("f4", count), array("f4", count)), 0.9, True, 0.9)),
            (trainer.parameters, ()),
            (trainer.gradients, ()),
            (trainer.set_parameters, (self.sequence(),)),
            (trainer.moments, ()),
            (trainer.set_moments, ({"m": self.sequence(), "v": self.sequence()}, 3)),
            (trainer.ema, ()),
            (trainer.set_ema, (rng.choice([None, self.sequence()]),)),
            (trainer.network, (rng.random() < 0.5,)),
        ]


def call(function, *args):
    name = getattr(function, "__name__", function)
    watch.note(f"{name}({', '.join(map(watch.described, args))})")
    try:
        return function(*args)
    except EXPECTED:
        return None


def meddle(shared, stop):
    """Write to and resize arrays that other calls are given, from another thread."""
    own = random.Random(5)
    while not stop.is_set():
        labels, rows = shared
        labels[own.randrange(len(labels))] = own.choice([0, 5, 2**40, -(2**40)])
        rows[own.randrange(len(rows))] = own.choice([0, 1, 2**40, -(2**40)])


def bound_memory():
    """Make what is too large fail at once; a sanitizer has a setting of its own for that."""
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))


def main():
    bound_memory()
    seconds = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng.seed(seed)
    objects = Objects()
    shared = np.zeros(20_000, "i8"), np.zeros(5000, "i8")
    queries, corpus = np.ones((4, 64), "f4"), np.ones((9, 64), "f4")
    stop = threading.Event()
    thread = threading.Thread(target=meddle, args=(shared, stop), daemon=True)
    thread.start()
    done, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        calls = [(getattr(_core, name), args) for name, args in module_calls()]
        for function, args in calls + rng.sample(objects.methods(), 6):
            if time.monotonic() < until:
                call(function, *mutated(args))
        call(_core.set_num_threads, 0)
        call(_core.epoch_order, shared[0], 10, True, 1, done)
        call(_core.cosine_topk, queries, corpus, 3, False, shared[1])
        if done % 50 == 49:
            objects = Objects()
        done += 1
    stop.set()
    thread.join()
    print(f"seed {seed}: {done} rounds")


if __name__ == "__main__":
    main()
