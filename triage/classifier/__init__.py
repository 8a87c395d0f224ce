"""Who reads the images: TorchServe, or the same engine in this process."""
