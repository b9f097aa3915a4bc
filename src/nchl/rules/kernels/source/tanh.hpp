// tanh of a vector, within a few units of the last place.
#pragma once
#include "vectors.hpp"

template <class T> struct Precision;  // terms: of the series of e^r - 1, |r| < 0.35; round: adding it leaves an integer in the low bits
template <> struct Precision<float> {
    static constexpr int terms = 8, mantissa = 23, bias = 127;
    static constexpr float most = 10, round = 12582912.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
};
template <> struct Precision<double> {
    static constexpr int terms = 15, mantissa = 52, bias = 1023;
    static constexpr double most = 20, round = 6755399441055744.0, ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
};

template <class T, int N> struct Factors { T of[N + 1]; };
template <class T, int N> constexpr Factors<T, N> inverse_factorials() {
    Factors<T, N> factors = {};
    double product = 1;
    for (int k = 1; k <= N; ++k) factors.of[k] = static_cast<T>(1 / (product *= k));
    return factors;
}

// tanh x = t / (t + 2) with t = e^2x - 1: no digits are lost near 0. Within a few units of the last place.
template <class T> static typename Lanes<T>::V tanh(typename Lanes<T>::V x) {
    using L = Lanes<T>;
    using V = typename L::V;
    using I = typename L::I;
    using P = Precision<T>;
    const V size = x < 0 ? -x : x, y = 2 * smaller(size, L::all(P::most));
    const V shifted = y * T(1.4426950408889634) + P::round, power = shifted - P::round;
    const V r = (y - power * P::ln2_high) - power * P::ln2_low;
    static constexpr auto factors = inverse_factorials<T, P::terms>();
    V series = L::all(factors.of[P::terms]);
#pragma GCC unroll 16
    for (int k = P::terms - 1; k > 0; --k) series = series * r + factors.of[k];
    const V two = (V)(((I)shifted << P::mantissa) + (static_cast<typename Integer<T>::type>(P::bias) << P::mantissa));
    const V t = two * (series * r) + (two - 1), result = t / (t + 2);
    return x == x ? (x < 0 ? -result : result) : x;
}
