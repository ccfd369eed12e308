"""What the tests of the integrations share."""

import pytest


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory):
    """URL of a real MLflow tracking server."""
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from integrations import tracking_server

    with tracking_server.running(tmp_path_factory.mktemp("mlflow")) as url:
        yield url
