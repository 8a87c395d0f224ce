"""What keeps an answer's promise: what is audited, what readings say, when a class is stopped and comes back. Pure."""
