"""The numbers of AdamW, for every step of it that Python makes.

They are the defaults of the core's `apply`. A matrix that is learned in Python beside the network
(`learned_map.py`), and a head that is trained before it (`head.py`), move by the same rule as the
network does, so that one learning rate means one thing in all three.
"""

from __future__ import annotations

#: Decay of the running mean of the gradient.
BETA1 = 0.9
#: Decay of the running mean of its square.
BETA2 = 0.999
#: Added to the root of that mean, so that nothing is divided by 0.
EPS = 1e-8
