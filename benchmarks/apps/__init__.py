"""The Flask apps that are measured; each is made from environment variables."""
