"""Where bytes live: images by content and named documents, in a folder or an object store."""
