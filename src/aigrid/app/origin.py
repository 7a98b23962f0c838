"""Which code this is: the version that was installed and, in a checkout, its commit."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

GIT_TIMEOUT_S = 5.0


def code_version() -> str:
    """The version of the installed distribution."""
    return metadata.version("aigrid")


def checkout_root() -> Path | None:
    """The root of the checkout that this code runs from, or None where it was installed."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / ".git").exists() else None


@cache
def code_commit() -> str:
    """The checkout's commit; `v` and the version where it was installed from a wheel."""
    root = checkout_root()
    if root is None:
        return f"v{code_version()}"
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"v{code_version()}"  # an exported tree without git is the released version
    return answer.stdout.strip()
