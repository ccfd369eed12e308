import pytest

from tests.support.small import model, model_dir, photos  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def other_dir(tmp_path_factory):
    """A model of other weights."""
    import birdembed as be

    folder = tmp_path_factory.mktemp("models") / "other"
    be.Model("resnet50", seed=1, preprocess=be.Preprocess(size=96)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def encodings(monkeypatch):
    """Return the list of the numbers of images that each call of `Model.encode` gets."""
    from birdembed import Model

    seen = []
    original = Model.encode

    def encode(self, images, *args, **options):
        seen.append(len(images) if isinstance(images, list) else 1)
        return original(self, images, *args, **options)

    monkeypatch.setattr(Model, "encode", encode)
    return seen


@pytest.fixture
def loads(monkeypatch):
    """Return the list of the names under which models are loaded, the cache being empty."""
    from birdembed.model import shared

    seen = []
    original = shared.load_model

    def load(name, **options):
        seen.append(name)
        return original(name, **options)

    monkeypatch.setattr(shared, "_models", {})
    monkeypatch.setattr(shared, "load_model", load)
    return seen


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory):
    """URL of a real MLflow tracking server."""
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from tests.support.tracking_server import running

    with running(tmp_path_factory.mktemp("mlflow")) as url:
        yield url
