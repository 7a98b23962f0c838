"""Where a grid keeps its files, whoever runs it."""

from pathlib import Path

import pytest

from aigrid.live.paths import cache_home


def test_who_has_no_home_keeps_compiled_kernels_beside_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_home(tmp_path / "data") == tmp_path / "home" / ".cache"
    monkeypatch.setenv("HOME", "/proc/self/nobody")
    assert cache_home(tmp_path / "data") == tmp_path / "data" / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "given"))
    assert cache_home(tmp_path / "data") == tmp_path / "given"
