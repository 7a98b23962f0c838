from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from aigrid.core.errors import (
    AigridError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from aigrid.core.package import ServiceSpec
from aigrid.store.catalogue import Catalogue, PackageRecord, version_order
from aigrid.store.references import LocalReference, RegistryReference, parse_reference
from aigrid.store.store import Store

NOW_S = 1_700_000_000.0
DIGEST = "sha256:" + "0" * 64


def _set_version(model_dir: Path, version: str) -> None:
    (model_dir / "service.json").write_bytes(ServiceSpec("demo", version).to_json())


def test_publish_list_show(store: Store, model_dir: Path) -> None:
    record = store.publish(model_dir, "maker", NOW_S)
    (line,) = store.list()
    assert (line.ref, line.publisher, line.published_at_s) == ("demo:1.0.0", "maker", NOW_S)
    shown = store.show("demo")
    assert shown.digest == store.resolve(f"demo@{record.digest}") == record.digest
    assert shown.signature == "verified"
    assert shown.signers == (store.key.key_id,)
    assert shown.evaluation == record.evaluation == {"bits_per_byte": 2.5}
    assert shown.runs[0]["machine"] == "here"


def test_a_version_never_changes(store: Store, model_dir: Path) -> None:
    first = store.publish(model_dir, "maker", NOW_S)
    assert store.publish(model_dir, "maker", NOW_S + 9) == first
    (model_dir / "README.md").write_text("# changed")
    with pytest.raises(ConflictError) as caught:
        store.publish(model_dir, "maker", NOW_S)
    assert str(caught.value).startswith(
        f"demo:1.0.0 is published already as {first.digest}, this is"
    )
    assert store.resolve("demo") == first.digest


def test_the_latest_version_is_the_highest(store: Store, model_dir: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0-rc.1", "nightly"):
        _set_version(model_dir, version)
        store.publish(model_dir, "maker", NOW_S)
    assert [r.version for r in store.catalogue.versions("demo")] == [
        "nightly",
        "1.9.0",
        "1.10.0-rc.1",
        "1.10.0",
    ]
    assert store.show("demo").ref == "demo:1.10.0"
    with pytest.raises(NotFoundError, match=r"demo:2 is not in the store; versions here: nightly"):
        store.resolve("demo:2")


def test_two_publishers_at_once(store: Store, model_dir: Path, tmp_path: Path) -> None:
    rival_dir = tmp_path / "rival"
    shutil.copytree(model_dir, rival_dir)
    (rival_dir / "README.md").write_text("# rival")
    rivals = [(Store(store.root), d) for d in (model_dir, rival_dir) * 2]

    def publish(rival: tuple[Store, Path]) -> str:
        try:
            return rival[0].publish(rival[1], "maker", NOW_S).digest
        except ConflictError:
            return "conflict"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(publish, rivals))
    assert sorted(o == "conflict" for o in outcomes) == [False, False, True, True]
    winner = next(o for o in outcomes if o != "conflict")
    assert store.resolve("demo") == store.layout.resolve("demo:1.0.0") == winner
    assert store.verify("demo").digest == winner
    assert store.layout.fsck() == []


def test_show_tells_of_damage(store: Store, model_dir: Path) -> None:
    record = store.publish(model_dir, "maker", NOW_S)
    layer = store.layout.manifest(record.digest)["layers"][1]
    path = store.layout.blob_path(layer["digest"])
    path.chmod(0o644)
    path.write_bytes(b"x")
    assert store.show("demo").signature.startswith("broken: config.json of package")
    store.publish(model_dir, "maker", NOW_S)
    assert store.show("demo").signature == "verified"


def test_a_package_here_can_be_published_by_digest(store: Store, model_dir: Path) -> None:
    digest = store.publish(model_dir, "maker", NOW_S).digest
    assert store.publish(digest, "maker", NOW_S).digest == digest


def test_unpack_verifies_first(store: Store, model_dir: Path, tmp_path: Path) -> None:
    store.publish(model_dir, "maker", NOW_S)
    assert store.unpack("demo", tmp_path / "out").digest == store.resolve("demo")
    assert (tmp_path / "out/tokenizer.json").exists()


def test_a_catalogue_from_the_future_or_of_another_kind(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "new.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="has schema 99, this aigrid knows 1; upgrade"):
        Catalogue(tmp_path / "new.sqlite")
    (tmp_path / "text.sqlite").write_text("not a database, just words " * 100)
    with pytest.raises(ConfigurationError, match="is not a catalogue"):
        Catalogue(tmp_path / "text.sqlite")


def test_many_catalogue_writers(tmp_path: Path) -> None:
    record = PackageRecord(
        "demo", "0", DIGEST, "chat", 1, ServiceSpec("demo", "0"), "maker", NOW_S, {}
    )

    def publish(number: int) -> bool:
        return Catalogue(tmp_path / "c.sqlite").publish(replace(record, version=str(number % 10)))

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(publish, range(20)))
    assert sum(outcomes) == 10
    assert len(Catalogue(tmp_path / "c.sqlite").list()) == 10


def test_semantic_versions_are_ordered_as_semver_says() -> None:
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11"
    versions = [*ordered.split(), "1.0.0-rc.1", "1.0.0", "2.0.0"]
    shuffled = [*versions[4:], *versions[:4]]
    assert sorted(shuffled, key=version_order) == versions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo", LocalReference("demo")),
        ("team/demo:1.0", LocalReference("team/demo", "1.0")),
        (f"demo@{DIGEST}", LocalReference("demo", "", DIGEST)),
        ("oci://localhost:5000/a/b:1", RegistryReference("localhost:5000", "a/b", "1")),
        (f"oci://r.example/a@{DIGEST}", RegistryReference("r.example", "a", "", DIGEST)),
        ("oci://[::1]:5000/a", RegistryReference("[::1]:5000", "a")),
    ],
)
def test_references_read_and_spell_the_same(text: str, expected: object) -> None:
    assert parse_reference(text) == expected
    assert str(parse_reference(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "Demo", "demo:", "demo@sha256:00", "demo:1@" + DIGEST, "../demo", "demo:..", "a//b"),
        *(
            "oci://",
            "oci://host",
            "oci://ho st/a",
            "oci://user@host/a",
            "oci://host/a:b/c",
            "a" * 300,
        ),
    ],
)
def test_bad_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_reference(text)
    assert isinstance(caught.value, AigridError)
    assert caught.value.next_step
