"""Read and write tensors and weights."""
