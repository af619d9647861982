"""Configuration: settings, their validators and API keys."""
