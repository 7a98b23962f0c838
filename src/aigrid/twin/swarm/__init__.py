"""Random grids with random faults, and rules that must hold after every event."""
