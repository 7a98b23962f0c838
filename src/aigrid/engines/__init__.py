"""Engines run a package: embedded on the CPU, or an upstream OpenAI-compatible server."""
