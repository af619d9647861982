"""The synthetic persona: what it says, how it sounds and looks, and how that is streamed.

Only :mod:`.peer` and what it alone imports need the libraries of the extra ``sandbox``.
"""
