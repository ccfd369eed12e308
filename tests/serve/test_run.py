"""An address that cannot be listened on: the error says whether the host or the port is wrong."""

import errno
import socket

import pytest

from tests.serve.conftest import httpx  # noqa: F401  (skips where the extra is missing)

bind = pytest.importorskip("birdembed.serve.run").bind


@pytest.mark.parametrize(
    "host", ["nope.invalid", "256.1.1.1", "192.0.2.1", "x" * 70, "a..b", "2001:db8::1"]
)
def test_hosts_that_are_not_of_this_machine(host):
    """The advice was to choose another port."""
    with pytest.raises(OSError, match=r"^cannot listen on .*, port 0: ") as caught:
        bind(host, 0)
    assert "give --host an address of this machine" in str(caught.value)
    assert "--port" not in str(caught.value)


def test_a_port_in_use():
    with bind("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(OSError, match="in use; choose another port with --port") as caught:
            bind("127.0.0.1", first.getsockname()[1])
    assert "--host" not in str(caught.value)


def test_a_port_that_needs_permission(monkeypatch):
    def bound(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bound)
    with pytest.raises(OSError, match="permission denied; choose another port with --port"):
        bind("127.0.0.1", 80)
