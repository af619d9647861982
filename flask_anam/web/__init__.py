"""Web layer: routes, request guards, responses, the player and the dashboard."""
