"""What the service is told to do: documents of projects and sites, opened and checked."""
