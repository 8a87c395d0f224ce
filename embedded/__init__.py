"""Everything on one machine: starts the real parts (Valkey, TorchServe, gateway) as processes of one user.

The only package that knows handlers, triage and training at once; they still meet over HTTP, files and the log.
"""
