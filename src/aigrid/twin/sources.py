"""What compiled code was made of.

Compiled code is kept on disk, and kept code knows of no other file than its own: where it calls
other modules, a digest of their sources goes into its key.
"""

from __future__ import annotations

import hashlib
import inspect
from types import ModuleType


def digest(*modules: ModuleType) -> str:
    """SHA-256 of modules' sources."""
    texts = "\0".join(inspect.getsource(module) for module in modules)
    return hashlib.sha256(texts.encode()).hexdigest()
