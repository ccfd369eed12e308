import os
import signal
import tempfile

import pytest

# A shell starts what runs in its background with Ctrl-C ignored, and programs that the tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory):
    """A folder for what other programs leave behind; it goes when the tests are over.

    Metaflow keeps what its client read, MLflow what it downloaded, a killed training its
    checkpoints: a gigabyte a run. The name is short because sockets are made below it.
    """
    tmp_path_factory.getbasetemp()  # stays outside: a failed test's folder is to be looked at
    with (
        tempfile.TemporaryDirectory(prefix="be-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(tempfile, "tempdir", folder)
        patch.setenv("TMPDIR", folder)
        patch.setenv("METAFLOW_CLIENT_CACHE_PATH", os.path.join(folder, "metaflow"))
        yield
