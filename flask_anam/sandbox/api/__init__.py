"""API behaviour: account, tokens, sessions, catalog, and the validation rules for a mint."""
