"""The gateway's part of the command line: one module a noun, imported when its command is used."""
