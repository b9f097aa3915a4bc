"""Kernels in C++ for the CPU: their sources, how they are compiled and kept, and what calls them."""
