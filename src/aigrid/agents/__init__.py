"""Digital workers (no code yet)."""
