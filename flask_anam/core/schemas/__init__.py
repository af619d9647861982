"""Schemas: what a persona config and a mint request may hold (marshmallow)."""
