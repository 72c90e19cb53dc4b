"""What makes training fast on a CPU: fused layers, compiled kernels, Muon, bfloat16 where it pays."""
