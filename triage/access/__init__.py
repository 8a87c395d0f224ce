"""Who may do what: roles, keys, tokens, limits. Deny by default."""
