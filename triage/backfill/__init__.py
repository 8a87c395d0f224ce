"""Images that are there already, sent to a running service in its own time."""
