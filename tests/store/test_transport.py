"""A registry that misbehaves, scripted answer by answer."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aigrid.core.errors import (
    AuthenticationError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from aigrid.core.package import canonical_json, sha256_digest
from aigrid.store.layout import Layout
from aigrid.store.pack import pack
from aigrid.store.references import RegistryReference
from aigrid.store.registry import Registry
from aigrid.store.transport import Credentials, Limits, Transport

QUICK = Limits(timeout_s=5.0, attempts=2, backoff_s=0.01)
Reply = tuple[int, dict[str, str], bytes]
Script = Callable[[str, str, dict[str, str]], Reply]


class ScriptedRegistry:
    """Answers what `script(method, path, headers)` says, and notes each request."""

    def __init__(self) -> None:
        self.script: Script = lambda method, path, headers: (404, {}, b"")
        self.seen: list[tuple[str, str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _reply(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.seen.append((self.command, self.path, headers.get("authorization", "")))
                status, extra, body = outer.script(self.command, self.path, headers)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | extra).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            do_GET = do_HEAD = do_POST = do_PUT = _reply  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def client(self, credentials: Credentials | None = None) -> Registry:
        reference = RegistryReference(self.host, "demo", "1")
        return Registry(reference, credentials or Credentials(), QUICK)


@pytest.fixture
def scripted() -> Iterator[ScriptedRegistry]:
    registry = ScriptedRegistry()
    yield registry
    registry.close()


def _serving(layout: Layout, digest: str, **changed: bytes) -> Script:
    def script(method: str, path: str, headers: dict[str, str]) -> Reply:
        last = path.rpartition("/")[2]
        name = digest if last == "1" else last
        if not name.startswith("sha256:") or "referrers" in path or not layout.has(name):
            return 404, {}, b""
        return 200, {}, changed.get(name[-8:], layout.read_blob(name))

    return script


def test_wrong_bytes_from_a_registry_are_refused(
    scripted: ScriptedRegistry, model_dir: Path, tmp_path: Path
) -> None:
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    digest = pack(model_dir, source).digest
    blob = source.manifest(digest)["layers"][0]["digest"]
    scripted.script = _serving(source, digest, **{blob[-8:]: b"# Demo"})
    with pytest.raises(IntegrityError, match=f"blob {blob}: its bytes have digest"):
        scripted.client().pull(target)
    assert not target.has(blob)
    assert target.entries() == []
    scripted.script = _serving(source, digest, **{digest[-8:]: b"{}"})
    with pytest.raises(IntegrityError, match=f"manifest {digest} from 127.0.0.1:.* have digest"):
        scripted.client().manifest(digest)


def test_a_transfer_that_breaks_off(
    scripted: ScriptedRegistry, model_dir: Path, tmp_path: Path
) -> None:
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    digest = pack(model_dir, source).digest
    whole = _serving(source, digest)

    def cut(method: str, path: str, headers: dict[str, str]) -> Reply:
        status, extra, body = whole(method, path, headers)
        return (status, {"Content-Length": str(len(body))}, body[:5]) if "/blobs/" in path else (
            status, extra, body,
        )  # fmt: skip

    scripted.script = cut
    with pytest.raises(UnavailableError, match="broke off"):
        scripted.client().pull(target)
    assert list((tmp_path / "target/blobs/sha256").iterdir()) == []


def test_a_busy_registry_is_asked_again(scripted: ScriptedRegistry) -> None:
    replies = iter([(503, {}, b""), (200, {}, b'{"tags": ["1", "sha256-00"]}')])
    scripted.script = lambda method, path, headers: next(replies)
    assert scripted.client().tags() == ["1"]
    scripted.script = lambda method, path, headers: (503, {}, b"")
    with pytest.raises(UnavailableError, match=r"does not answer: HTTP 503 .*\(2 tries\)"):
        scripted.client().tags()
    assert len(scripted.seen) == 4


def test_tags_come_in_pages(scripted: ScriptedRegistry) -> None:
    def pages(method: str, path: str, headers: dict[str, str]) -> Reply:
        if "last=" in path:
            return 200, {}, b'{"tags": ["2"]}'
        return 200, {"Link": '</v2/demo/tags/list?n=1&last=1>; rel="next"'}, b'{"tags": ["1"]}'

    scripted.script = pages
    assert scripted.client().tags() == ["1", "2"]


def test_basic_and_bearer_challenges_are_answered(scripted: ScriptedRegistry) -> None:
    basic = "Basic " + base64.b64encode(b"ann:secret").decode()

    def guarded(method: str, path: str, headers: dict[str, str]) -> Reply:
        sent = headers.get("authorization", "")
        if path.startswith("/token"):
            right = sent == basic and "scope=repository" in path
            return (200, {}, b'{"token": "t1"}') if right else (401, {}, b"")
        if sent in ("Bearer t1", basic if "basic" in path else "Bearer t1"):
            return 200, {}, b'{"tags": []}'
        realm = f'Bearer realm="http://{scripted.host}/token",scope="repository:demo:pull"'
        return 401, {"WWW-Authenticate": 'Basic realm="x"' if "basic" in path else realm}, b""

    scripted.script = guarded
    ann = Credentials("ann", "secret")
    assert scripted.client(ann).tags() == []
    reference = RegistryReference(scripted.host, "basic", "1")
    assert Registry(reference, ann, QUICK).tags() == []
    with pytest.raises(AuthenticationError, match="refuses access"):
        scripted.client(Credentials("bob", "guess")).tags()
    assert "secret" not in repr(ann)


def test_credentials_stay_with_their_host(scripted: ScriptedRegistry) -> None:
    elsewhere = ScriptedRegistry()
    try:
        elsewhere.script = lambda method, path, headers: (200, {}, b"{}")
        scripted.script = lambda method, path, headers: (
            307,
            {"Location": f"http://{elsewhere.host}/x"},
            b"",
        )
        assert scripted.client(Credentials(token="secret")).tags() == []
    finally:
        elsewhere.close()
    assert scripted.seen[0][2] == "Bearer secret"
    assert elsewhere.seen == [("GET", "/x", "")]


def test_a_loop_of_redirects_ends(scripted: ScriptedRegistry) -> None:
    scripted.script = lambda method, path, headers: (302, {"Location": path}, b"")
    with pytest.raises(UnavailableError, match="redirects too often"):
        scripted.client().tags()


def test_plain_http_is_for_loopback_only(scripted: ScriptedRegistry) -> None:
    scripted.script = lambda method, path, headers: (302, {"Location": "http://r.example/x"}, b"")
    with pytest.raises(
        UnavailableError, match=r"leads to http://r.example/x, which is not over TLS"
    ):
        scripted.client().tags()
    assert Transport("r.example", Credentials(), QUICK).base == "https://r.example"


def test_answers_have_a_limit(scripted: ScriptedRegistry) -> None:
    scripted.script = lambda method, path, headers: (200, {}, b" " * (5 << 20))
    with pytest.raises(TooLargeError, match="is over 4194304 bytes"):
        scripted.client().tags()


def test_what_the_registry_says_reaches_the_reader(
    scripted: ScriptedRegistry, model_dir: Path, tmp_path: Path
) -> None:
    source = Layout(tmp_path / "source")
    digest = pack(model_dir, source).digest
    body = json.dumps({"errors": [{"code": "DENIED", "message": "quota"}]}).encode()
    scripted.script = lambda method, path, headers: (405, {}, body)
    with pytest.raises(InvalidRequestError, match="HTTP 405 DENIED: quota"):
        scripted.client().push(source, digest, "1")
    scripted.script = lambda method, path, headers: (404, {}, b"")
    with pytest.raises(NotFoundError, match="1 is not in registry"):
        scripted.client().package()


def test_a_manifest_that_is_no_package(scripted: ScriptedRegistry) -> None:
    for content in (b"[]", b"{", canonical_json({"artifactType": "x"}), b"[" * 100_000):
        digest = sha256_digest(content)
        scripted.script = lambda m, p, h, c=content: (200, {}, c)
        with pytest.raises(IntegrityError, match=f"manifest {digest}"):
            scripted.client().package()
