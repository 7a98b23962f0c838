"""Tenants, keys, audit, usage, invoices and grants at the command line, against a running grid."""

import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cli.conftest import Ran, spawn

pytestmark = pytest.mark.grid


def run(grid: Path, *arguments: object, **options: Any) -> Any:
    done = spawn(*arguments, "--json", data=grid, **options)
    assert done.returncode == 0, done.stderr or done.stdout
    return json.loads(done.stdout)


def text(grid: Path, *arguments: object) -> str:
    done = spawn(*arguments, data=grid)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(grid: Path, key: str) -> tuple[int, str, Any]:
    url = urlsplit(json.loads((grid / "run" / "grid.json").read_text())["base_url"])
    body = {"model": "tiny", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    try:
        headers = {"authorization": f"Bearer {key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("x-request-id", ""), json.loads(answer.read())
    finally:
        connection.close()


def test_a_tenants_life(grid: Path, tmp_path: Path) -> None:
    run(grid, "tenant", "create", "acme", "--class", "high", "--requests-per-minute", 5)
    key = run(grid, "key", "create", "acme", "--label", "app")
    status, request_id, _ = ask(grid, key["key"])
    assert status == 200
    assert key["shown"] in text(grid, "key", "list") and key["key"] not in text(grid, "key", "list")

    run(grid, "tenant", "set", "acme", "--region", "jp-13")
    status, _, refused = ask(grid, key["key"])
    assert (status, refused["error"]["code"]) == (403, "sovereignty_rule")
    assert "regions=jp-13" in refused["error"]["message"]
    run(grid, "tenant", "set", "acme", "--region", "any")
    assert "anywhere" in text(grid, "tenant", "list")

    new = run(grid, "key", "rotate", key["id"], "--overlap-hours", 0)
    assert ask(grid, key["key"])[0] == 401 and ask(grid, new["key"])[0] == 200
    run(grid, "tenant", "suspend", "acme")
    assert ask(grid, new["key"])[0] == 403
    run(grid, "tenant", "resume", "acme")
    assert ask(grid, new["key"])[0] == 200
    run(grid, "key", "revoke", new["id"])
    assert ask(grid, new["key"])[0] == 401

    rows = settled_usage(grid, "acme", 3)
    assert (rows[0]["service"], rows[0]["completion_tokens"]) == ("tiny", 12)
    assert text(grid, "usage", "--csv").startswith("tenant,service,version,requests")
    proof = text(grid, "audit", "prove", request_id)
    assert "rule" in proof and "region local, operator own" in proof
    check_invoice(grid, tmp_path)


def settled_usage(grid: Path, tenant: str, requests: int) -> list[dict[str, Any]]:
    for _ in range(50):
        rows: list[dict[str, Any]] = run(grid, "usage", "--tenant", tenant)["rows"]
        if rows and rows[0]["requests"] >= requests:
            break
        time.sleep(0.1)
    assert rows[0]["requests"] == requests
    return rows


def check_invoice(grid: Path, folder: Path) -> None:
    given = run(
        grid, "grant", "create", "acme", "5", "--purpose", "student", "--until", "2099-12-31"
    )
    assert (given["amount_micro"], given["currency"]) == (5_000_000, "USD")
    assert "2099-12-31" in text(grid, "grant", "list")
    month = run(grid, "usage")["month"]
    invoice = run(grid, "invoice", "acme", month)
    assert invoice["statements"][0]["lines"][0]["requests"] == 3 and invoice["draft"]
    assert text(grid, "invoice", "acme", month, "--format", "csv").startswith("invoice,kind")
    assert "due in USD" in text(grid, "invoice", "acme", month)
    text(grid, "invoice", "acme", month, "--format", "pdf", "--out", folder / "i.pdf")
    assert (folder / "i.pdf").read_bytes().startswith(b"%PDF-")


def test_a_key_may_do_what_its_role_says(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(grid, "tenant", "create", "shop")
    key = run(grid, "key", "create", "shop")
    monkeypatch.setenv("AIGRID_KEY", key["key"])
    assert [k["id"] for k in run(grid, "key", "list", "--tenant", "shop")] == [key["id"]]
    for command in (("tenant", "list"), ("usage",), ("audit", "list"), ("status",)):
        refused = spawn(*command, data=grid)
        assert refused.returncode == 9 and "role 'consumer'" in refused.stderr, command


def test_audit_is_verified_and_a_copy_that_was_edited_is_found(grid: Path, tmp_path: Path) -> None:
    found = run(grid, "audit", "verify")
    lines = run(grid, "audit", "list", "--last", 1000)
    assert found["lines"] >= 1 and lines
    copy = tmp_path / "copy"
    copy.mkdir()
    (segment,) = (grid / "audit").glob("*.jsonl")
    raw = segment.read_bytes().splitlines(keepends=True)
    (copy / segment.name).write_bytes(b"".join(raw))
    assert run(grid, "audit", "verify", "--log", copy)["lines"] == len(raw)
    (copy / segment.name).write_bytes(b"".join([raw[0].replace(b"control", b"kontrol"), *raw[1:]]))
    edited = spawn("audit", "verify", "--log", copy, data=grid)
    assert edited.returncode == 6 and "line 1 was edited" in edited.stderr
    (tmp_path / "empty").mkdir()
    assert spawn("audit", "verify", "--log", tmp_path / "empty", data=grid).returncode == 4


def test_what_cannot_be_is_said_before_anything_happens(aigrid: Any) -> None:
    for command in (
        ("tenant", "create", "acme", "--budget", "1.0000001"),
        ("tenant", "create", "acme", "--class", "vip"),
        ("grant", "create", "acme", "-5", "--purpose", "student", "--until", "2027-01-01"),
        ("grant", "create", "acme", "nan", "--purpose", "student", "--until", "2027-01-01"),
        ("invoice", "acme", "2026-13"),
        ("invoice", "acme", "2026-11", "--format", "pdf"),
    ):
        ran: Ran = aigrid(*command)
        assert ran.code == 2, (command, ran.err)
