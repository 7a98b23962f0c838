from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from aigrid.core.package import ServiceSpec, UpstreamTarget
from aigrid.store.served import registry_app
from aigrid.store.store import Store
from aigrid.store.transport import Limits

QUICK = Limits(timeout_s=5.0, attempts=2, backoff_s=0.01)
TOKEN = "grid-token"
NOW_S = 1_700_000_000.0


def fill_model_dir(directory: Path, seed: int = 0, version: str = "1.0.0") -> Path:
    """What the factory writes, with random bytes for weights."""
    generator = np.random.default_rng(seed)
    (directory / "onnx").mkdir(parents=True)
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [8, 32], "data_offsets": [0, 1024]}}
    ).encode()
    tensor = generator.bytes(1024)
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + tensor)
    (directory / "onnx" / "model.onnx").write_bytes(generator.bytes(4096))
    (directory / "config.json").write_text('{"model_type": "llama", "num_attention_heads": 4}')
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (directory / name).write_text("{}")
    (directory / "README.md").write_text("# demo")
    (directory / "evaluation.json").write_text('{"bits_per_byte": 2.5}')
    (directory / "run.json").write_text(json.dumps({"seconds": 10 + seed, "machine": "here"}))
    (directory / "service.json").write_bytes(ServiceSpec("demo", version, licence="MIT").to_json())
    return directory


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return fill_model_dir(tmp_path / "model")


@pytest.fixture
def upstream_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "upstream"
    directory.mkdir()
    target = UpstreamTarget("http://127.0.0.1:9/v1", "big")
    spec = ServiceSpec("remote", "2", engine="upstream", upstream=target)
    (directory / "service.json").write_bytes(spec.to_json())
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", limits=QUICK)


@pytest.fixture
def other_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "other", limits=QUICK)


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of Debian's docker-registry, which has no referrers API."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")
    scratch = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{_free_port()}"
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(scratch / "data")}},
        "http": {"addr": address},
    }
    (scratch / "config.yml").write_text(json.dumps(config))
    log = (scratch / "log").open("wb")
    process = subprocess.Popen(
        [program, "serve", str(scratch / "config.yml")], stdout=log, stderr=log
    )
    try:
        _wait_until(
            lambda: _answers(f"http://{address}/v2/"), lambda: (scratch / "log").read_text()
        )
        yield address
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@pytest.fixture
def served(store: Store) -> Iterator[str]:
    """`host:port` of the store's own read-only registry."""
    config = uvicorn.Config(
        registry_app(store, TOKEN), port=0, log_level="error", ws="none", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _wait_until(lambda: server.started, lambda: "uvicorn did not start")
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.URLError:
        return False


def _wait_until(ready: Callable[[], bool], why: Callable[[], str]) -> None:
    for _ in range(500):
        if ready():
            return
        time.sleep(0.02)
    pytest.fail(why())
