"""The constants of AdamW for the steps that are made in Python.

They are the defaults of `apply` in the core. A matrix learned in Python next to the network
(`learned_map.py`) and a head trained before it (`head.py`) use the same update rule as the
network, so a learning rate means the same in all three.
"""

from __future__ import annotations

#: Decay of the moving average of the gradient.
BETA1 = 0.9
#: Decay of the moving average of the squared gradient.
BETA2 = 0.999
#: Added to the root of that average, to avoid a division by 0.
EPS = 1e-8
