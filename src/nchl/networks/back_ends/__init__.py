"""How a graph's step is computed: by torch's functions, a compiled function, or C++ kernels."""
