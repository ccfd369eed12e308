"""How far results may lie from their references, each with its reason."""

from typing import NamedTuple

# Embeddings, maps and logits of random networks against torch: 53 layers of float32 sums in
# another order, with batch norm folded. Seen: 2e-7 to 1.5e-6; the limit is the promise.
NETWORK_REL_L2 = 1e-4
NETWORK_COSINE = 0.999999

# The same between two instruction sets of one machine (AVX-512 and AVX2): the promise of
# vectors that keep their meaning across machines. Seen: 1 - 1.5e-13.
ISA_COSINE = 0.999999

# The same between our own convolutions and oneDNN's that they replace. The promise is
# NETWORK_REL_L2, beside torch. Seen: 3e-7 with Winograd's and trained weights, 6e-6 with numbers
# split for AMX.
KERNELS_REL_L2 = 2e-5

# Generalised-mean pooling and projection against float64: 2048 products in float32.
PROJECTION_REL_L2 = 1e-5

# Probabilities against float64 softmax of the same logits: one rounding to float32.
SOFTMAX = 1e-7

# Scores of the search against float64: 2048 products summed in float32 in 8 or 16 lanes differ
# by at most 4e-7 on random rows.
TOPK_SCORE = 1e-6


class MaxMean(NamedTuple):
    """Largest and mean absolute difference."""

    max: float
    mean: float


# JPEG, 8-bit samples against libjpeg-turbo by Pillow: another inverse DCT and another rounding
# of chroma upsampling and the colour transform. Seen on real photographs: max 3, mean 0.062.
JPEG_DECODE = MaxMean(4, 0.1)

# Pictures of a few blocks, where the differences at edges weigh more: mean 0.235 seen.
JPEG_TINY = MaxMean(4, 0.3)

# 5-bit samples of a BMP spread to 8 bits: repeated bits here, value * 255 / 31 in Pillow.
RGB555 = 1

# Warped pictures against Pillow's bilinear transform, 8-bit samples: weights of 11 bits here,
# double there, and Pillow cuts samples off where we round. Seen: 1.
WARP = 1

# Embeddings between float32 runs of 53 layers in two libraries, relative L2: about 1e-6 seen.
FEATURES_REL_L2 = 1e-4

# sscd's 512-d against a float run of its ONNX file, relative L2: median 1.4e-6 of 100 photographs;
# one has 3.5e-5, because the cube root of generalised-mean pooling magnifies near-zero channels.
SSCD_FLOAT_REL_L2 = 1e-4
# Cosine with the int8 file as it is: only to see that it is the same model. Seen 0.961 at least.
SSCD_INT8_COSINE = 0.9

# Embeddings before and after batch norm is unfolded, relative L2: float32 rounding of 53 new
# scales and shifts. 3e-6 seen with real weights, up to 1e-5 with random ones.
UNFOLDED_REL_L2 = 3e-5

# Gradients of whole networks against torch in float64: so many times torch float32's own distance,
# the worse of its two memory layouts. Both are dominated by ReLUs that flip at their kinks.
GRADIENT_TIMES_TORCH = 2
# The same where no ReLU is near its kink: only rounding is left. Seen: 1e-4.
OPEN_GRADIENT_REL_L2 = 1e-3
# The loss of one batch against float64: seen 1e-6.
LOSS_REL = 1e-5
# Running statistics after a step against float64: seen 4e-6. Forgetting to make a variance
# unbiased would be 4e-4.
RUNNING_STATISTICS_REL_L2 = 2e-5

# Parameters after ten steps on identical gradients, beside torch.optim: roundings of 1e-7.
OPTIMIZER = 1e-6
# One batch in two parts: sums in another order, and kernels for another batch.
ACCUMULATED_REL_L2 = 1e-4
# Norms and sampled entries of gradients: so many times torch float32's own error. A few entries
# of a tensor say less than the whole.
GOLDEN_TIMES_TORCH = 3
# With frozen statistics both are at the rounding of float32 (1e-7): no less is asked.
GOLDEN_ROUNDING = 1e-6
# The same in bfloat16: so many times the distance of torch's bfloat16 autocast.
BFLOAT16_TIMES_TORCH = 2
# Accuracy of a short fine-tuning in bfloat16 beside float32's, on 32 images: 3 of them. Seen: 0.
BFLOAT16_ACCURACY = 0.11
# Losses of ten steps: so many times the distance of torch's float32 from float64.
LOSS_TIMES_TORCH = 2

# Embeddings of float16 weights beside float32 ones, 1 - cosine: halves keep 11 bits, 53 layers add
# up to 2e-6 with random weights and with trained ones.
FLOAT16_COSINE = 1e-4
