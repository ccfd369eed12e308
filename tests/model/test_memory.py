"""Nothing is left over, no references and no memory, whatever goes wrong."""

import pytest

from tests.support.program import run

RESIDENT = """
    import gc, resource

    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
"""


@pytest.mark.slow
def test_memory_of_changing_sizes():
    """Plans are bounded, by number and by bytes."""
    out = run(
        RESIDENT
        + """
    def work(i):
        x = np.zeros((1 + i * 7 % 11, 3, 32 + 8 * (i % 10), 40), np.float32)
        model.forward_tensor(x, num_threads=1 + i % 3)
        model.encode(pictures[:3], batch_size=1 + i % 3)

    for i in range(12):
        work(i)
    before = resident()
    for i in range(50):
        work(i)
    print(resident() - before)
    """
    )
    assert float(out) < 60  # a plan for batches of 8 at 104 x 40 px has 7 MB


def test_memory_of_models():
    """A model has 100 MB of weights and as much again packed: one that stays would show."""
    out = run(
        RESIDENT
        + """
    state = model.state_dict()
    for i in range(2):
        model.load_state_dict(state)
        model.encode(pictures)
    before = resident()
    for i in range(4):
        model.load_state_dict(state)
        model.encode(pictures)
    print(resident() - before)
    """
    )
    assert float(out) < 150


def test_references():
    """The glue's own: arrays, names, shapes, types, also on the way of each error."""
    run("""
    import gc, tracemalloc
    from birdembed import _core

    table = _core.parameter_table("resnet50", 0)
    parameters = [np.zeros(shape, np.float32) for _, shape in table]
    network = _core.Network("resnet50", 0, parameters)
    x = np.zeros((2, 3, 32, 32), np.float32)
    small = np.zeros((2, 3, 31, 32), np.float32)
    wide = np.zeros((2, 3, 32, 2000), np.float32)
    features = np.zeros((2, 2048), np.float32)
    weights = np.zeros((4, 2048), np.float32)
    name = "resnet" + str(50)
    wrong = [*parameters[:-1], np.zeros(3, np.float32)]
    none = [*parameters[:-1], None]

    def refused(call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except (TypeError, ValueError):
            return
        raise AssertionError("not refused")

    def once():
        network.features(x), network.features(x, True, 1), network.maps(x, num_threads=2)
        network.parameters(), network.architecture, network.num_classes, network.num_features
        _core.linear(features, weights), _core.parameter_table(name, 2), _core.architectures()
        _core.backend(), network.conv_statistics(x, 1)
        refused(network.features, small), refused(network.maps, small)
        refused(network.features, wide), refused(network.maps, wide)
        refused(network.features, x[0]), refused(network.maps, None)
        refused(network.features, x.astype(np.float64)), refused(network.features)
        refused(network.head, features), refused(network.head, features[:, :5].copy())
        refused(network.head, x), refused(_core.linear, features, x)
        refused(_core.linear, features, weights[:, :7].copy())
        refused(_core.Network, name, 0, wrong), refused(_core.Network, name, 0, none)
        refused(_core.Network, name, 0, parameters[:-1]), refused(_core.Network, "vgg", 0, [])
        refused(_core.Network, name, -1, parameters), refused(_core.Network, name, 0, 5)
        refused(_core.parameter_table, "vgg", 0), refused(_core.parameter_table, name, -1)
        refused(model.encode, [pictures[0], None]), refused(model.encode, [b"bad"])
        model.encode([b"bad", pictures[0]], on_error="nan")

    watched = [x, small, wide, features, weights, name, wrong, none, parameters, network,
               parameters[0], pictures[0], _core.Network, np.float32, np.dtype(np.float32)]
    once()
    gc.collect()
    before = [sys.getrefcount(o) for o in watched]
    for _ in range(5):
        once()
    gc.collect()
    after = [sys.getrefcount(o) for o in watched]
    assert all(b - a < 3 for a, b in zip(before, after)), (before, after)

    tracemalloc.start()
    once()
    gc.collect()
    at = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        once()
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] - at < 50_000
    """)


def test_networks_are_released():
    run("""
    import gc, weakref
    from birdembed import _core

    parameters = [np.zeros(shape, np.float32) for _, shape in _core.parameter_table("resnet50", 0)]
    _core.Network("resnet50", 0, parameters)
    before = sys.getrefcount(_core.Network)
    for _ in range(5):
        network = _core.Network("resnet50", 0, parameters)
        method = network.features  # a bound method keeps it alive
        del network
        method(np.zeros((1, 3, 32, 32), np.float32))
        del method
    assert sys.getrefcount(_core.Network) == before
    assert len({sys.getrefcount(p) for p in parameters}) == 1
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None
    """)


def test_types_cannot_be_changed():
    from birdembed import _core

    with pytest.raises(TypeError):
        _core.Network.name = 1
    with pytest.raises(TypeError):
        type("Sub", (_core.Network,), {})
