"""HTTP: parse, call, reply. One router a noun."""
