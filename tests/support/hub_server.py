"""A stand-in for the hub's HTTP interface: what huggingface_hub asks of it for one file."""

from __future__ import annotations

import hashlib
import http.server
import threading


class Hub:
    """Serves models from memory on loopback; counts requests.

    `models[repository]` maps a branch to a commit, `files[commit]` a name to its bytes.
    """

    def __init__(self):
        self.models: dict[str, dict[str, str]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub.answer(self, False)

            def do_GET(self):
                hub.answer(self, True)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.models.setdefault(repository, {})[branch] = commit
        self.files[commit] = files
        return commit

    def answer(self, request, with_body: bool):
        self.requests.append(f"{request.command} {request.path}")
        parts = request.path.strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self._refuse(request, "RepoNotFound")
        branches = self.models.get("/".join(parts[:2]))
        if branches is None:
            return self._refuse(request, "RepoNotFound")
        commit = branches.get(parts[3], parts[3])
        if commit not in self.files:
            return self._refuse(request, "RevisionNotFound")
        content = self.files[commit].get("/".join(parts[4:]))
        if content is None:
            return self._refuse(request, "EntryNotFound", commit)
        request.send_response(200)
        request.send_header("X-Repo-Commit", commit)
        # Large files carry their SHA-256, small ones git's hash of a blob.
        if len(content) > 1 << 20:
            etag = hashlib.sha256(content).hexdigest()
            request.send_header("X-Linked-Etag", f'"{etag}"')
            request.send_header("X-Linked-Size", str(len(content)))
        else:
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        request.send_header("ETag", f'"{etag}"')
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if with_body:
            request.wfile.write(content)

    def _refuse(self, request, code: str, commit: str | None = None):
        request.send_response(404)
        request.send_header("X-Error-Code", code)
        if commit:
            request.send_header("X-Repo-Commit", commit)
        request.send_header("Content-Length", "0")
        request.end_headers()
