"""Synthetic media: what the persona says, how it sounds and looks, and its WebRTC connection.

Only :mod:`.peer` and the modules that it alone imports need the libraries of the extra ``sandbox``.
"""
