"""The networks give what torch gives: live where torch is installed, and from golden files."""

import numpy as np
import pytest

import birdembed as be
from tests.golden import make_embeddings
from tests.golden.make_embeddings import ARCHITECTURES
from tests.support import networks, seeded, tolerances
from tests.support.models import CLASSES, make_model

#: Without golden files: the same blocks in other numbers.
OTHER_DEPTHS = [name for name in networks.ARCHITECTURES if name not in ARCHITECTURES]


def assert_close(found, expected):
    """Row by row: relative L2 and cosine."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    a = found.reshape(len(found), -1).astype(np.float64)
    b = expected.reshape(len(expected), -1).astype(np.float64)
    lengths = np.linalg.norm(b, axis=1)
    distance = np.linalg.norm(a - b, axis=1) / lengths
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * lengths)
    assert distance.max() <= tolerances.NETWORK_REL_L2
    assert cosine.min() >= tolerances.NETWORK_COSINE
    return float(distance.max())


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request):
    """Our network and torch's with the same weights."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(2)
    return request.getfixturevalue(request.param), make_embeddings.network(request.param)


@pytest.mark.parametrize(("n", "height", "width"), [(1, 224, 224), (3, 224, 224), (33, 96, 96)])
def test_batches_against_torch(pair, n, height, width, record_property):
    model, torch_model = pair
    x = seeded.tensor(n, n, height, width)
    maps, features, logits = make_embeddings.run(torch_model, x)
    network = model._current.trunk.network
    distances = {
        "embeddings": assert_close(model.forward_tensor(x), features),
        "maps": assert_close(network.maps(x), maps),
        "logits": assert_close(network.head(model.forward_tensor(x)), logits),
    }
    record_property("rel_l2", distances)
    print(f"\n{model.architecture}, batch {n}: relative L2 to torch {distances}")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (97, 161), (64, 255), (288, 40)])
def test_sizes_against_torch(pair, height, width):
    """Odd sides: padding on one side only, windows cut off at the edge."""
    model, torch_model = pair
    x = seeded.tensor(1, 2, height, width)
    maps, features, _ = make_embeddings.run(torch_model, x)
    assert_close(model._current.trunk.network.maps(x), maps)
    assert_close(model.forward_tensor(x), features)


def test_images_against_torch(pair):
    model, torch_model = pair
    images = seeded.pictures(3, 150, 201, seed=4)
    maps, features, logits = make_embeddings.run(torch_model, be.preprocess(images))
    assert_close(model.forward_features(images), maps)
    assert_close(model.encode(images), features)
    assert_close(model.logits(images), logits)


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith("resnet152") else name
        for name in OTHER_DEPTHS
    ],
)
def test_other_depths(architecture):
    """Against timm's, and against torchvision's where it has the architecture."""
    torch, torchvision, _, _ = networks.vision()
    theirs = networks.random_network(architecture, CLASSES)
    state = networks.numpy_state(theirs)
    model = be.Model(architecture, CLASSES)
    model.load_state_dict(state)
    x = networks.network_input()
    _, features, logits = make_embeddings.run(theirs, x)
    assert_close(model.forward_tensor(x), features)
    network = model._current.trunk.network
    assert_close(network.head(model.forward_tensor(x)), logits)
    assert model.embedding_dim == network.num_features == networks.features(architecture)
    if not networks.is_deep(architecture):
        twin = torchvision.models.get_model(architecture, num_classes=CLASSES).eval()
        twin.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()}, strict=True)
        assert_close(model.forward_tensor(x), networks.embed(twin, x))


def test_extreme_running_variances():
    """From zero, where eps alone counts, to 130: folding keeps its precision."""
    torch = pytest.importorskip("torch")
    made = make_embeddings.network("resnet50", 0)
    state = seeded.state("resnet50")
    for name in [n for n in state if n.endswith("running_var")]:
        state[name] = state[name] ** 12  # 2e-4 to 130
        state[name][::7] = 0
        gamma = name.replace("running_var", "weight")
        state[gamma] = state[gamma] * np.sqrt(state[name] + np.float32(1e-5))  # or all overflows
    made.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()}, strict=False)
    model = make_model(num_classes=0)
    model.load_state_dict(state)
    x = seeded.tensor(3, 2, 64, 64)
    assert_close(model.forward_tensor(x), make_embeddings.run(made, x)[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_golden(architecture, request):
    """Without torch: norms and samples that it once gave."""
    network = request.getfixturevalue(architecture)._current.trunk.network
    golden = np.load(make_embeddings.FOLDER / f"{architecture}.npz")
    for seed, (name, (n, height, width)) in enumerate(make_embeddings.INPUTS.items()):
        x = seeded.tensor(seed, n, height, width)
        maps, features = network.maps(x), network.features(x)
        assert golden[f"{name}.logits"].shape == (n, CLASSES)
        assert_close(network.head(features), golden[f"{name}.logits"])
        for kind, array in (("maps", maps), ("features", features)):
            rows = array.reshape(n, -1)
            norms = np.linalg.norm(rows.astype(np.float64), axis=1)
            np.testing.assert_allclose(
                norms, golden[f"{name}.{kind}.norm"], rtol=tolerances.NETWORK_REL_L2
            )
            picked = rows[:, make_embeddings.samples(seed, array)]
            assert_close(picked, golden[f"{name}.{kind}.samples"])


def test_golden_files_are_small():
    assert sum(f.stat().st_size for f in make_embeddings.FOLDER.glob("*.npz")) < 100_000


def test_golden_notices_a_wrong_weight():
    """One channel of one batch norm of 53 is enough."""
    state = seeded.state("resnet50", CLASSES)
    state["layer3.4.bn2.running_var"][7] *= 2
    model = make_model()
    model.load_state_dict(state)
    golden = np.load(make_embeddings.FOLDER / "resnet50.npz")["odd.logits"]
    network = model._current.trunk.network
    x = seeded.tensor(1, *make_embeddings.INPUTS["odd"])
    with pytest.raises(AssertionError):
        assert_close(network.head(network.features(x)), golden)


def test_features_are_the_mean_of_the_maps(small, pictures):
    maps = small.forward_features(pictures[:3]).astype(np.float64)
    assert maps.shape == (3, 2048, 2, 2)
    np.testing.assert_allclose(small.encode(pictures[:3]), maps.mean((2, 3)), rtol=1e-5, atol=1e-7)


def test_generalised_mean_and_projection(projecting, pictures):
    """(mean of max(x, 1e-6)^3)^(1/3), less the mean, times the matrix; in float64."""
    maps = np.maximum(projecting.forward_features(pictures[:5]).astype(np.float64), 1e-6)
    pooled = (maps**3).mean((2, 3)) ** (1 / 3)
    projection = projecting.projection
    expected = (pooled - projection.mean) @ projection.matrix.astype(np.float64)
    found = projecting.encode(pictures[:5])
    assert found.shape == (5, 16)
    distance = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert distance.max() <= tolerances.PROJECTION_REL_L2
