from __future__ import annotations

from pathlib import Path

import pytest

from aigrid.core.errors import AuthenticationError, IntegrityError, NotFoundError, UnavailableError
from aigrid.store.install import install
from aigrid.store.keys import ensure_key
from aigrid.store.layout import Layout
from aigrid.store.references import parse_registry_reference
from aigrid.store.registry import Registry
from aigrid.store.store import Store
from aigrid.store.transport import Credentials, Limits

NOW_S = 1_700_000_000.0
QUICK = Limits(timeout_s=5.0, attempts=2, backoff_s=0.01)


def test_the_same_verbs_work_against_a_real_registry(
    docker_registry: str, store: Store, other_store: Store, model_dir: Path
) -> None:
    target = f"oci://{docker_registry}/team/demo"
    record = store.publish(model_dir, "maker", NOW_S, to=target)

    (line,) = store.list(target)
    assert (line.ref, line.digest, line.kind) == (f"{target}:1.0.0", record.digest, "chat")
    shown = store.show(f"{target}:1.0.0")
    assert shown.signature == "trusted key"
    assert shown.runs == ({"seconds": 10, "machine": "here"},)
    assert shown.evaluation == {"bits_per_byte": 2.5}
    assert store.verify(f"{target}@{record.digest}").digest == record.digest

    other_store.trust(store.key.public)
    pulled = other_store.pull(f"{target}:1.0.0", NOW_S)
    assert pulled.digest == record.digest
    assert other_store.show("demo").signature == "verified"
    assert other_store.layout.fsck() == []


def test_a_registry_without_referrers_keeps_them_under_a_tag(
    docker_registry: str, store: Store, model_dir: Path
) -> None:
    target = f"oci://{docker_registry}/fallback"
    digest = store.publish(model_dir, "maker", NOW_S, to=target).digest
    store.push("demo", target)
    registry = Registry(parse_registry_reference(target), limits=QUICK)
    _, index = registry.manifest(digest.replace(":", "-"))
    assert index.count(b'"artifactType"') == 2
    assert registry.tags() == ["1.0.0"]


def test_pulling_from_an_unknown_publisher_lists_nothing(
    docker_registry: str, store: Store, other_store: Store, model_dir: Path
) -> None:
    target = f"oci://{docker_registry}/stranger:1.0.0"
    store.publish(model_dir, "maker", NOW_S, to=target)
    with pytest.raises(IntegrityError, match="which is not trusted here"):
        other_store.pull(target, NOW_S)
    assert other_store.list() == []


def test_a_site_installs_from_the_control_plane(
    served: str, store: Store, model_dir: Path, tmp_path: Path
) -> None:
    digest = store.publish(model_dir, "maker", NOW_S).digest
    reference = parse_registry_reference(f"oci://{served}/demo@{digest}")
    token = Credentials(token="grid-token")
    site = Layout(tmp_path / "site")
    dest = tmp_path / "packages" / "demo"
    keys = [store.key.public]

    assert install(reference, site, dest, keys, token, QUICK).digest == digest
    assert (dest / "onnx/model.onnx").read_bytes() == (model_dir / "onnx/model.onnx").read_bytes()
    (dest / "config.json").write_text("tampered")
    assert install(reference, site, dest, keys, token, QUICK).digest == digest
    assert (dest / "config.json").read_bytes() == (model_dir / "config.json").read_bytes()


def test_a_site_that_proved_a_package_once_still_checks_every_byte_and_its_keys(
    served: str, store: Store, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = store.publish(model_dir, "us", 1.0)
    reference = parse_registry_reference(f"oci://{served}/demo@{record.digest}")
    site, dest, token = (
        Layout(tmp_path / "site"),
        tmp_path / "unpacked",
        Credentials(token="grid-token"),
    )
    install(reference, site, dest, store.trusted_keys, token, QUICK)
    good = (dest / "config.json").read_bytes()

    def never(*_: object) -> None:
        raise AssertionError("the signature was proved before")

    monkeypatch.setattr("aigrid.store.install.verify_in_subprocess", never)
    install(reference, site, dest, store.trusted_keys, token, QUICK)
    monkeypatch.undo()
    (dest / "config.json").write_bytes(good + b" ")
    install(reference, site, dest, store.trusted_keys, token, QUICK)
    assert (dest / "config.json").read_bytes() == good
    stranger = ensure_key(tmp_path / "stranger").public
    with pytest.raises(IntegrityError, match="not trusted here"):
        install(reference, site, dest, [stranger], token, QUICK)


def test_the_control_plane_wants_its_token(served: str, store: Store, model_dir: Path) -> None:
    store.publish(model_dir, "maker", NOW_S)
    reference = parse_registry_reference(f"oci://{served}/demo:1.0.0")
    with pytest.raises(
        AuthenticationError, match=rf"registry {served} refuses access \(HTTP 401\)"
    ):
        Registry(reference, Credentials(token="guess"), QUICK).tags()
    registry = Registry(reference, Credentials(token="grid-token"), QUICK)
    assert registry.tags() == ["1.0.0"]
    with pytest.raises(NotFoundError, match="9 is not in registry"):
        registry.package("9")


def test_a_registry_that_is_away(other_store: Store) -> None:
    with pytest.raises(UnavailableError, match=r"registry 127.0.0.1:9 does not answer: .*2 tries"):
        other_store.pull("oci://127.0.0.1:9/demo:1", NOW_S)
