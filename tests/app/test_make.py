import importlib.util
from pathlib import Path

import pytest
from tests.tiny_model import write_tiny_recipe

from aigrid.app.make import Order, make
from aigrid.app.up import settings_of
from aigrid.app.upstream import publish_upstream
from aigrid.core.errors import ConfigurationError
from aigrid.factory.progress import SilentProgress
from aigrid.store.store import Store


def test_a_python_without_torch_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    order = Order(write_tiny_recipe(tmp_path), None, None, tmp_path)
    with pytest.raises(ConfigurationError, match=r"torch, onnx, safetensors.*aigrid\[factory\]"):
        make(order, SilentProgress())


def test_an_upstream_package_holds_the_path_of_the_key_and_not_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-secret")
    store = tmp_path / "store"
    ref = publish_upstream(store, "guest", "http://127.0.0.1:9/v1/", "big", key)
    spec = Store(store).show(ref).spec
    assert (spec.engine, spec.upstream.base_url, spec.upstream.model) == (
        "upstream",
        "http://127.0.0.1:9/v1",
        "big",
    )
    assert not any(b"sk-secret" in p.read_bytes() for p in store.rglob("*") if p.is_file())
    assert publish_upstream(store, "guest", "http://127.0.0.1:9/v1", "big", key) == ref
    assert publish_upstream(store, "guest", "http://127.0.0.1:8/v1", "big", key) != ref
    vectors = publish_upstream(store, "guest", "http://127.0.0.1:9/v1", "big", key, "embed")
    assert vectors != ref and Store(store).show(vectors).spec.kind == "embed"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/v1", "http://"])
def test_an_upstream_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="--upstream"):
        publish_upstream(tmp_path, "guest", url, "big", None)


def test_settings_name_the_option_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--port is 70000"):
        settings_of(tmp_path, port=70000, sites=None)
    assert settings_of(tmp_path, port=None, sites=None).port == 8080
