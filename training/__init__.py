"""From labelled images to a bundle and the rules it may answer by.

Nothing heavy is imported here: `certify` and `evaluate` run on ONNX Runtime alone; only `model`, `train` and `export` need
torch.
"""
