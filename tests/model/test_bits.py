"""The same image gives the same vector, bit for bit, however it is asked for."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import birdembed as be
from tests.support import ROOT, seeded, tolerances
from tests.support.models import make_model


def test_batch_sizes(tiny, pictures):
    expected = np.stack([tiny.encode(picture) for picture in pictures])
    assert len(np.unique(expected, axis=0)) == 33  # no two alike, or the rest proves nothing
    for n in range(1, 34):
        np.testing.assert_array_equal(tiny.encode(pictures[:n], batch_size=n), expected[:n])


def test_batch_sizes_at_64_px(small, pictures):
    expected = small.encode(pictures[:9])
    for batch_size in (1, 2, 8):
        np.testing.assert_array_equal(small.encode(pictures[:9], batch_size), expected)


def test_positions(tiny, pictures):
    alone = tiny.encode(pictures[0])
    for at in range(9):
        batch = pictures[1 : at + 1] + pictures[:1] + pictures[at + 1 : 9]
        np.testing.assert_array_equal(tiny.encode(batch)[at], alone)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 12, 64])
def test_threads(small, resnet50d, pictures, threads):
    expected = small.encode(pictures[:9], num_threads=2)
    np.testing.assert_array_equal(small.encode(pictures[:9], num_threads=threads), expected)
    x = seeded.tensor(1, 9, 64, 64)
    np.testing.assert_array_equal(
        resnet50d.forward_tensor(x, num_threads=threads), resnet50d.forward_tensor(x, num_threads=1)
    )


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet18", "resnet34d"])
def test_the_size_that_counts(architecture, request):
    """224 px: batch 1, 8 and 9, one and two threads, first and last row."""
    model = request.getfixturevalue(architecture)
    x = seeded.tensor(2, 9, 224, 224)
    whole = model.forward_tensor(x, num_threads=2)
    np.testing.assert_array_equal(model.forward_tensor(x[:8], num_threads=1), whole[:8])
    np.testing.assert_array_equal(model.forward_tensor(x[8:], num_threads=1)[0], whole[8])
    np.testing.assert_array_equal(model.forward_tensor(x[:1], num_threads=2)[0], whole[0])


@settings(max_examples=15, deadline=None)
@given(
    order=st.lists(st.integers(0, 11), min_size=0, max_size=14),
    batch_size=st.integers(1, 16),
    threads=st.integers(1, 3),
    normalize=st.booleans(),
)
def test_any_order_and_chunking(projecting, pictures, order, batch_size, threads, normalize):
    options = {"normalize_embeddings": normalize, "num_threads": threads}
    for projection in (True, False):
        alone = projecting.encode(
            pictures[:12], projection=projection, normalize_embeddings=normalize
        )
        found = projecting.encode(
            (pictures[i] for i in order), batch_size, projection=projection, **options
        )
        np.testing.assert_array_equal(found, alone[order])
        pieces = list(
            projecting.encode_iter(
                [pictures[i] for i in order], batch_size, projection=projection, **options
            )
        )
        if order:
            np.testing.assert_array_equal(np.concatenate([v for _, v in pieces]), alone[order])
            assert np.concatenate([p for p, _ in pieces]).tolist() == list(range(len(order)))
        else:
            assert pieces == []


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("projection", [None, True, False])
def test_encode_is_preprocess_and_forward_tensor(projecting, normalize, projection):
    images = seeded.pictures(5, 70, 91)
    options = {"normalize_embeddings": normalize, "projection": projection}
    x = be.preprocess(images, projecting.preprocess)
    np.testing.assert_array_equal(
        projecting.encode(images, **options), projecting.forward_tensor(x, **options)
    )


def test_forward_tensor_of_views(small):
    """Not contiguous, read-only, of another stride: the values alone count."""
    x = seeded.tensor(3, 6, 64, 64)
    expected = small.forward_tensor(x)
    np.testing.assert_array_equal(small.forward_tensor(x[::2]), expected[::2])
    turned = np.asfortranarray(x)
    turned.setflags(write=False)
    np.testing.assert_array_equal(small.forward_tensor(turned), expected)
    np.testing.assert_array_equal(x, seeded.tensor(3, 6, 64, 64))  # the input is only read


def test_other_sizes_between(small, pictures):
    """Plans come and go; an image's vector stays."""
    expected = small.encode(pictures[:9])
    for side in (32, 48, 80, 96, 33):
        small.forward_tensor(seeded.tensor(1, 8, side, side))
        np.testing.assert_array_equal(small.encode(pictures[:9]), expected)


def test_equal_weights_equal_bits(small, pictures):
    other = make_model(size=64)
    np.testing.assert_array_equal(other.encode(pictures[:3]), small.encode(pictures[:3]))
    assert other.fingerprint == small.fingerprint


def test_threads_of_python_share_a_model(tiny, pictures):
    expected = tiny.encode(pictures)
    wrong, started = [], threading.Barrier(4)

    def work(start):
        started.wait()
        for i in range(4):
            at = (start + 5 * i) % 25
            found = tiny.encode(pictures[at : at + 8], batch_size=3, num_threads=1 + start % 2)
            if not np.array_equal(found, expected[at : at + 8]):
                wrong.append(at)

    workers = [threading.Thread(target=work, args=(7 * n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


OWN_PROCESS = """
import sys
import numpy as np
import birdembed as be
from tests.support import seeded
from tests.support.models import make_model

vectors = []
for architecture in sys.argv[2:]:
    model = make_model(architecture, 0)
    x = seeded.tensor(2, 9, 64, 64)
    whole = model.forward_tensor(x, num_threads=1)
    for threads in (1, 2, 3):
        for n in (1, 2, 8, 9):
            assert np.array_equal(model.forward_tensor(x[:n], num_threads=threads), whole[:n])
        assert np.array_equal(model.forward_tensor(x[5:6], num_threads=threads)[0], whole[5])
    vectors.append(whole)
np.savez(sys.argv[1], *vectors)
"""


def vectors_of_own_process(tmp_path, models, **variables):
    """Return each model's embeddings of 9 images, by a process with those environment variables."""
    env = os.environ | variables | {"PYTHONPATH": str(ROOT)}
    file, names = tmp_path / "vectors.npz", [model.architecture for model in models]
    command = [sys.executable, "-c", OWN_PROCESS, str(file), *names]
    subprocess.run(command, env=env, check=True, timeout=300)
    return [vectors.astype(np.float64) for vectors in np.load(file).values()]


def vectors_of_this_process(models):
    x = seeded.tensor(2, 9, 64, 64)
    return [model.forward_tensor(x).astype(np.float64) for model in models]


def test_avx2(tmp_path, resnet50, resnet50d, resnet34d):
    """The other column of the kernel table: bit-identical in itself, and near to this one."""
    if "AVX512" not in be.info()["isa"]:
        pytest.skip("this machine has no more than AVX2: the other tests hold it")
    models = (resnet50, resnet50d, resnet34d)
    here = vectors_of_this_process(models)
    there = vectors_of_own_process(tmp_path, models, ONEDNN_MAX_CPU_ISA="AVX2")
    for model, a, b in zip(models, here, there, strict=True):
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        print(f"\n{model.architecture}, AVX-512 and AVX2: 1 - cosine {1 - cosine.min():.1e}")
        assert cosine.min() >= tolerances.ISA_COSINE


@pytest.mark.parametrize(
    "allowed",
    ["onednn", *(pytest.param(f"winograd{i}", marks=pytest.mark.slow) for i in (2, 4))],
)
@pytest.mark.parametrize("isa", ["", "AVX2"])
def test_fast_kernels_are_near_to_those_that_they_replace(
    tmp_path, resnet50, resnet50d, resnet34d, isa, allowed
):
    """With BIRDEMBED_KERNELS the fast kernels are off: other bits, the same vectors."""
    if isa and "AVX512" not in be.info()["isa"]:
        pytest.skip("this machine has no more than AVX2: no other column")
    if allowed == "winograd4" and (isa or "AMX" not in be.info()["isa"]):
        pytest.skip("without AMX, Winograd's F(4x4) is the fastest")
    models = (resnet50, resnet50d, resnet34d)
    held_back = {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    fast = (
        vectors_of_own_process(tmp_path, models, **held_back)
        if isa
        else vectors_of_this_process(models)
    )
    plain = vectors_of_own_process(tmp_path, models, BIRDEMBED_KERNELS=allowed, **held_back)
    for model, a, b in zip(models, fast, plain, strict=True):
        distance = np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
        print(f"\n{model.architecture}, fastest and {allowed}: relative L2 {distance.max():.1e}")
        assert 0 < distance.max() <= tolerances.KERNELS_REL_L2


def test_unknown_kernels_are_refused():
    encode = (
        "import birdembed as be, numpy as np\n"
        "be.Model('resnet18', seed=0).encode(np.zeros((32, 32, 3), np.uint8))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "BIRDEMBED_KERNELS": "quick"}
    process = subprocess.run(
        [sys.executable, "-c", encode], env=env, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 1
    assert "ValueError: the environment variable BIRDEMBED_KERNELS" in process.stderr


@pytest.mark.parametrize("call", ["features(x, precision='int8')", "largest(x)"])
def test_unknown_kernels_are_refused_whatever_the_plan(call):
    if "int8" in call and "int8" not in be.info()["precisions"]:
        pytest.skip("this processor has no AVX2")
    compute = (
        "import numpy as np\n"
        "from birdembed import _core\n"
        "table = _core.parameter_table('resnet18', 0)\n"
        "ones = [np.ones(shape, np.float32) for _, shape in table]\n"
        "x = np.zeros((1, 3, 32, 32), np.float32)\n"
        f"_core.Network('resnet18', 0, ones, np.ones(21, np.float32)).{call}"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "BIRDEMBED_KERNELS": "quick"}
    process = subprocess.run(
        [sys.executable, "-c", compute], env=env, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 1
    assert "ValueError: the environment variable BIRDEMBED_KERNELS" in process.stderr
