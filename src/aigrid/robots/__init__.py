"""Worlds, school, mimic, gen, control, fleet (no code yet)."""
