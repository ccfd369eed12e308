"""How far results may lie from their references, each with its reason."""

# Embeddings, maps and logits of random networks against torch: 53 layers of float32 sums in
# another order, with batch norm folded. Seen: 2e-6 to 1e-5; the limit is the promise.
NETWORK_REL_L2 = 1e-4
NETWORK_COSINE = 0.999999

# The same between two instruction sets of one machine (AVX-512 and AVX2): the promise of
# vectors that keep their meaning across machines.
ISA_COSINE = 0.999999

# Generalised-mean pooling and projection against float64: 2048 products in float32.
PROJECTION_REL_L2 = 1e-5

# Probabilities against float64 softmax of the same logits: one rounding to float32.
SOFTMAX = 1e-7
