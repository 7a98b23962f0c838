"""Graphs opened in ONNX Runtime, as every engine here opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from aigrid.core.errors import IntegrityError


def open_session(path: Path, threads: int) -> Any:
    """A session on the CPU.

    Args:
        path: of the graph.
        threads: threads inside one operator.

    Raises:
        IntegrityError: the file is no ONNX graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # a spinning pool would burn the core that the radio and the other sites need
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no narrower base
        reason = str(error).splitlines()[0][:200]
        raise IntegrityError(
            f"{path}: cannot be loaded: {reason}", next_step="pull or make the package again"
        ) from error
