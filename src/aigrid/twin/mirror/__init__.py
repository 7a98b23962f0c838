"""Mirrors of recorded live runs: the twin predicts what was measured, and how far off it is."""
