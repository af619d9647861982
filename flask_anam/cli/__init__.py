"""Commands: `flask anam ...`."""
