"""The simulated grid: the same orchestrator, driven by an event heap."""
