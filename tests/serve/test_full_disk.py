"""A server without room for an upload says so, and serves the next one."""

import errno
import os
import tempfile

import pytest
from starlette.testclient import TestClient

from birdembed.serve import create_app


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
def test_no_room_for_an_upload(bare, known, monkeypatch, form, code):
    def full(self, data):
        raise OSError(code, os.strerror(code))

    sent = {"files": {"file": ("x.png", known)}} if form else {"content": known}
    headers = {} if form else {"headers": {"content-type": "image/png"}}
    with TestClient(create_app(bare), raise_server_exceptions=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr(tempfile.SpooledTemporaryFile, "write", full)
            answer = client.post("/embed", **sent, **headers)
        assert answer.status_code == 503
        said = f"the server cannot store the file: {os.strerror(code).lower()}"
        assert answer.json() == {"detail": said}
        assert client.post("/embed", **sent, **headers).status_code == 200
        assert client.get("/health").json()["pending"] == 0
