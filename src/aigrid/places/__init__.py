"""Cameras to events to answers (no code yet)."""
