"""Metrics: definitions, the registry of values and the recorder."""
