"""From labelled images to a bundle and the rules it may answer by.

Nothing heavy is imported here: `certify` and `evaluate` run on ONNX Runtime alone; only `model`, `loop`, `export` and
`train` need torch.
"""

import os

# Torch's thread pool reads this once, when torch is imported. Its waiting threads spin by default and so take the very core
# that the other half of the work needs wherever cores are shared: one epoch of the sample took 85 s beside other programs
# on two cores, and 9 s with threads that sleep. A value set outside wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
