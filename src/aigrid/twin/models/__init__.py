"""Formulas of the twin, each with its source: radio need, roofline, queues, paths, money."""
