"""The live grid: supervisor, control plane, gateway and site processes."""
