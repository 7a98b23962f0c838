"""aigrid: an open AI grid; see docs/ARCHITECTURE.md."""
