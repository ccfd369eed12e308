"""A stand-in for the hub's HTTP interface: what huggingface_hub asks of it for one file."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import threading

from tests.support import ROOT


def _body(request) -> bytes:
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    parts = []
    while size := int(request.rfile.readline(), 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(parts)


class Hub:
    """Serves models from memory on loopback; counts requests.

    `models[repository]` maps a branch to a commit, `files[commit]` a name to its bytes.
    """

    def __init__(self):
        self.models: dict[str, dict[str, str]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.created: list[dict] = []
        self.tokens: set[str | None] = set()
        self._large: dict[str, bytes] = {}
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub.answer(self, False)

            def do_GET(self):
                hub.answer(self, True)

            def do_POST(self):
                hub.receive(self)

            def do_PUT(self):
                hub.receive(self)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self, home) -> dict[str, str]:
        """Return the variables of a process that takes this for the hub, with caches in `home`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "BIRDEMBED_CACHE": str(home / "cache"),
        }

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

    def receive(self, request):
        """Take part in an upload: a repository, large files, a commit."""
        self.requests.append(f"{request.command} {request.path}")
        self.tokens.add(request.headers.get("Authorization"))
        body = _body(request)
        path = request.path.split("?")[0]
        if request.command == "PUT":
            self._large[path.rsplit("/", 1)[-1]] = body
            return self._send(request, {})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repository = "/".join(filter(None, [asked.get("organization", "me"), asked["name"]]))
            self.created.append(asked)
            return self._send(request, {"url": f"{self.endpoint}/{repository}"})
        if path == "/api/validate-yaml":
            return self._send(request, {"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.endpoint}/large/{one['oid']}"}}
            return self._send(request, {"transfer": "basic", "objects": objects})
        repository = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = ["lfs" if one["size"] > 1 << 20 else "regular" for one in files]
            told = [
                {"path": one["path"], "uploadMode": mode, "shouldIgnore": False}
                for one, mode in zip(files, modes, strict=True)
            ]
            return self._send(request, {"files": told})
        assert "/commit/" in path, path
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self._large.pop(value["oid"])
        commit = self.publish(repository, files)
        address = f"{self.endpoint}/{repository}/commit/{commit}"
        self._send(request, {"success": True, "commitOid": commit, "commitUrl": address})

    def _send(self, request, answer: dict):
        text = json.dumps(answer).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _refuse(self, request, code: str, commit: str | None = None):
        request.send_response(404)
        request.send_header("X-Error-Code", code)
        if commit:
            request.send_header("X-Repo-Commit", commit)
        request.send_header("Content-Length", "0")
        request.end_headers()
