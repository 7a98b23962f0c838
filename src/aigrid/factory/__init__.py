"""The factory: from data to a model directory."""
