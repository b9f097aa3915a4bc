"""Benchmarks: the speed of one part on this machine, beside a yardstick measured in the same run."""
