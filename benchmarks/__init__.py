"""What the docs quote: figures that a command prints."""
