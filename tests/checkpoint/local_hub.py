"""A stand-in for the Hugging Face Hub: what its client asks of the server, on this machine, files kept in memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Repositories = dict[str, dict[str, bytes]]
"""Files by their names, by the names of their repositories."""


@contextmanager
def local_hub() -> Iterator[tuple[str, Repositories]]:
    """Gives the address of a hub that is empty, and what it holds."""
    repositories: Repositories = {}
    handler = type("Handler", (_Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    repositories: Repositories

    def _commit(self, repo: str) -> str:
        """The name of what a repository holds now."""
        return hashlib.sha1(repr(sorted(self.repositories.get(repo, {}).items())).encode()).hexdigest()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.repositories.setdefault(repo, {})
            self._json({"url": f"http://{self.headers['Host']}/{repo}"})
        elif re.search("/preupload/", self.path):
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        elif found := re.fullmatch("/api/models/(.+/.+)/commit/main", self.path):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.repositories[found[1]][entry["value"]["path"]] = content
            commit = self._commit(found[1])
            url = f"http://{self.headers['Host']}/{found[1]}/commit/{commit}"
            self._json({"commitUrl": url, "commitOid": commit, "hookOutput": "", "pullRequestUrl": None})
        else:
            self._json({"success": True})

    def do_GET(self) -> None:
        if found := re.fullmatch("/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path):
            repo, file = found.groups()
            content, commit = self.repositories.get(repo, {}).get(file), self._commit(repo)
            if content is None:
                code = "EntryNotFound" if repo in self.repositories else "RepoNotFound"
                self._answer(404, b"", {"X-Error-Code": code, "X-Repo-Commit": commit})
            else:
                etag = f'"{hashlib.sha256(content).hexdigest()}"'
                self._answer(200, content, {"ETag": etag, "X-Repo-Commit": commit})
        elif found := re.fullmatch("/api/models/([^/]+/[^/?]+)(/revision/.*)?([?].*)?", self.path):
            files = self.repositories.get(found[1])
            if files is None:
                self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            else:
                self._json(
                    {
                        "id": found[1],
                        "sha": self._commit(found[1]),
                        "siblings": [{"rfilename": name} for name in files],
                    }
                )
        elif found := re.fullmatch("/api/models/([^/]+/[^/]+)/tree/.*", self.path):
            files = self.repositories[found[1]].items()
            self._json([{"type": "file", "path": name, "size": len(c), "oid": "0" * 40} for name, c in files])
        else:
            self._json({"name": "me", "type": "user"})

    do_HEAD = do_GET

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
