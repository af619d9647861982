"""Dashboard: the page on usage for the owner of an app."""
