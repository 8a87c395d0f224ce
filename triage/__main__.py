"""`python -m triage`: the gateway as a process."""

from __future__ import annotations

from triage.commands.serve import serve

if __name__ == "__main__":
    serve()
