"""The thin shell that TorchServe runs: an entry point, the archive around a bundle, control of the server."""
