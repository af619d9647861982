"""Rate limits: the bridge to Flask-Limiter and `limits`."""
