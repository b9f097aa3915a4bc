// The updates of linear layers, and the normalisation, of one individual.
#pragma once
#include "share.hpp"

// NcHL; `near` has C a of the two sides and the other products.
template <class T> static void move_linear(int inputs, int outputs, const Neurons<T>& r, Buffer<T>& near, T* weight) {
    near.grow(2 * inputs);
    T *Aa = near.data(), *Ca = Aa + inputs;
    for (int i = 0; i < inputs; ++i) Aa[i] = r.A_in[i] * r.pre[i], Ca[i] = r.C_in[i] * r.pre[i];
    for (int j = 0; j < outputs; ++j) {
        const T Ba = r.B_out[j] * r.post[j], Cb = r.C_out[j] * r.post[j], D = r.D_out[j], eta = r.eta_out[j];
        T* row = weight + static_cast<size_t>(j) * inputs;
#pragma GCC ivdep
        for (int i = 0; i < inputs; ++i) row[i] += nchl(T(0.5) * (r.eta_in[i] + eta), Aa[i], Ba, Ca[i], Cb, r.D_in[i], D);
    }
}

// HL; A, B, C, D, eta per synapse.
template <class T> static void move_synaptic(int inputs, int outputs, const T* pre, const T* post, const T* const* rules, T* weight) {
    for (int j = 0; j < outputs; ++j) {
        const size_t at = static_cast<size_t>(j) * inputs;
        const T *A = rules[0] + at, *B = rules[1] + at, *C = rules[2] + at, *D = rules[3] + at, *eta = rules[4] + at;
        const T b = post[j];
        T* row = weight + at;
#pragma GCC ivdep
        for (int i = 0; i < inputs; ++i) row[i] += eta[i] * (A[i] * pre[i] + B[i] * b + C[i] * pre[i] * b + D[i]);
    }
}

// Divides by the largest absolute weight; unchanged if all are zero or one is NaN.
template <class T> static void normalise(size_t count, T* weight) {
    using L = Lanes<T>;
    Largest<T> most;
    vectors<T>(count, [&](int i, auto load) { most.see(load(weight + i)); });
    const T largest = most.value(), near = sizeof(T) == 4 ? T(1e30) : T(1e300), inverse = 1 / largest;
    if (largest < near && inverse < near) {
        // Division is slow. Multiplication with an exact correction of its error gives the same quotient.
        map(count, weight, [=](typename L::V w) {
            const auto quotient = w * inverse;
            return quotient + (w - quotient * largest) * inverse;
        });
    } else if (largest > 0)
        for (size_t i = 0; i < count; ++i) weight[i] /= largest;
}
