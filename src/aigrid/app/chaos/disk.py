"""A disk that can be full: a small file system in memory where root may mount one."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SIZE_MB = 256
PIECES_BYTES = (1 << 20, 1 << 12, 1)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted tmpfs.

    Attributes:
        folder: where.
    """

    folder: Path

    @classmethod
    def mount(cls, folder: Path) -> SmallDisk | None:
        """Mount it; None where that is not allowed."""
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "aigrid-chaos", str(folder)]
        try:
            done = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            return None
        return cls(folder) if done and done.returncode == 0 else None

    def unmount(self) -> None:
        """Take it away with all that is on it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)

    def fill(self) -> None:
        """Write until not one byte more fits."""
        with self._filler.open("wb", buffering=0) as file:
            for size in PIECES_BYTES:
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"
