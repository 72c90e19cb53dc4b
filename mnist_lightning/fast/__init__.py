"""What makes training fast on a CPU: fused layers, sparse dropout, Muon, bfloat16 where it pays."""
