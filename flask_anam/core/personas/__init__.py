"""Personas: declarations, files, overrides and the registry of an app."""
