"""What the sandboxed API does: account, tokens, sessions, catalog, and the rules for a mint."""
