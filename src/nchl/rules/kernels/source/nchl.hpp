// NcHL, the equation of all kernels: the change of a connection's weight.
//
//     dW = rate (A_i a_i + B_j a_j + C_i a_i C_j a_j + D_i D_j),    rate = (eta_i + eta_j) / 2
//
// It is written here because the function in rules/neuronal.py takes longer: compiled by torch, the dense step takes 1.9 times as long as
// step.cpp, which keeps values shared by several rows in registers; and torch does not keep a convolution's connections in the cache.
// Tests compare both.
#pragma once

template <class V> static inline __attribute__((always_inline)) V nchl(V rate, V Aa_in, V Ba_out, V Ca_in, V Ca_out, V D_in, V D_out) {
    return rate * (Aa_in + Ba_out + Ca_in * Ca_out + D_in * D_out);
}
