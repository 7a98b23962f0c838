"""Faults on a real grid of processes, and the check that no answer was lost, doubled or changed."""
