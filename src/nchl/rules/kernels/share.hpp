// The NcHL update of a kernel: the change of every connection, or of every term of it, aggregated per kernel element.
//
//     dK[k] = agg over connections (p -> q) of (eta_p + eta_q) / 2 (A_p a_p + B_q a_q + C_p C_q a_p a_q + D_p D_q)
//
// One tap (u, v) at a time: the inputs that it meets are gathered row by row, and several output channels read each of them
// from a register. Nothing larger than a few planes is ever stored.
#pragma once
#include "geometry.hpp"

enum Sharing { MAX, MIN, MEAN, MEDIAN };
static constexpr int TILE = 256, BLOCK = 4;

template <class T> struct Neurons {  // one individual's parameters, and whether they can overflow
    const T *pre, *post, *A_in, *C_in, *D_in, *E_in, *B_out, *C_out, *D_out, *E_out;
};

template <class T> struct Workspace {  // of one thread
    Planes<T> in[4];                   // A a, C a, D, eta
    std::vector<T> out[4];             // B a, C a, D, eta; every plane padded by a vector
    std::vector<T> in_tile[4], out_tile[4], sums, values[BLOCK], of_inputs, of_outputs;
};

template <class T> struct Largest {
    T value = 0;
    bool finite = true;
    void see(const T* x, int n) {
        T most = value;
        int strange = 0;
        for (int i = 0; i < n; ++i) {
            const T size = x[i] < 0 ? -x[i] : x[i];
            most = size > most ? size : most;
            strange += !(size <= std::numeric_limits<T>::max());
        }
        value = most;
        finite &= !strange;
    }
};

template <class T, int MODE> static typename Lanes<T>::V neutral() {
    if (MODE == MEAN) return typename Lanes<T>::V{};
    return Lanes<T>::all(MODE == MAX ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity());
}

template <int MODE, class V> static inline V combine(V a, V x) {
    if (MODE == MAX) return larger(x, a);
    if (MODE == MIN) return smaller(x, a);
    return a + x;
}

template <class T, int MODE> static T reduce(const T* lanes) {
    T result = lanes[0];
    for (int l = 1; l < Lanes<T>::N; ++l)
        result = MODE == MAX ? std::max(result, lanes[l]) : MODE == MIN ? std::min(result, lanes[l]) : result + lanes[l];
    return result;
}

// n connections of one input channel with each of B output channels.
template <class T, int MODE, bool PRODUCT, int B>
static void accumulate(T* const* in, const T* const (*out)[4], int n, T* sums, std::vector<T>* values) {
    using L = Lanes<T>;
    using V = typename L::V;
    V total[B];
    for (int b = 0; b < B; ++b) total[b] = L::load(sums + b * L::N);
    const auto changes = [&](int p, V* x) __attribute__((always_inline)) {
        const V Ca = L::load(in[1] + p);
        if (PRODUCT) {
            for (int b = 0; b < B; ++b) x[b] = Ca * L::load(out[b][1] + p);
            return;
        }
        const V Aa = L::load(in[0] + p), D = L::load(in[2] + p), eta = L::load(in[3] + p);
        for (int b = 0; b < B; ++b)
            x[b] = (eta + L::load(out[b][3] + p)) * (Aa + L::load(out[b][0] + p) + Ca * L::load(out[b][1] + p) + D * L::load(out[b][2] + p));
    };
    int p = 0;
    V x[B];
    for (; p + L::N <= n; p += L::N) {
        changes(p, x);
        for (int b = 0; b < B; ++b)
            if (MODE == MEDIAN) L::store(values[b].data() + p, x[b]);
            else total[b] = combine<MODE>(total[b], x[b]);
    }
    if (p < n) {
        const auto inside = L::first(n - p);
        changes(p, x);
        for (int b = 0; b < B; ++b)
            if (MODE == MEDIAN) L::store(values[b].data() + p, x[b]);
            else total[b] = combine<MODE>(total[b], inside ? x[b] : neutral<T, MODE>());
    }
    for (int b = 0; b < B; ++b) L::store(sums + b * L::N, total[b]);
}

template <class T, int MODE> static T aggregate(const T* x, int n, std::vector<T>& scratch) {
    using L = Lanes<T>;
    if (MODE == MEDIAN) {
        std::copy(x, x + n, scratch.begin());
        return median(scratch.data(), n);
    }
    typename L::V total = neutral<T, MODE>();
    int p = 0;
    for (; p + L::N <= n; p += L::N) total = combine<MODE>(total, L::load(x + p));
    if (p < n) total = combine<MODE>(total, L::first(n - p) ? L::load(x + p) : neutral<T, MODE>());
    T lanes[L::N];
    L::store(lanes, total);
    const T result = reduce<T, MODE>(lanes);
    return MODE == MEAN ? result / n : result;
}

template <class T> static bool prepare(const Geometry& g, const Neurons<T>& r, Workspace<T>& w, bool termwise) {
    const int inputs = g.channels * g.height * g.width, positions = g.positions(), stride = positions + Lanes<T>::N;
    const int arrays = termwise ? 2 : 4;
    for (int k = 0; k < arrays; ++k) {
        w.in[k].prepare(g);
        w.out[k].resize(static_cast<size_t>(g.outputs) * stride + Lanes<T>::N);
    }
    w.in[0].fill(g.width, [&](int i) { return r.A_in[i] * r.pre[i]; });
    w.in[1].fill(g.width, [&](int i) { return r.C_in[i] * r.pre[i]; });
    if (!termwise) {
        w.in[2].fill(g.width, [&](int i) { return r.D_in[i]; });
        w.in[3].fill(g.width, [&](int i) { return r.E_in[i]; });
    }
    for (int o = 0; o < g.outputs; ++o) {
        const int from = o * positions;
        T *Ba = &w.out[0][static_cast<size_t>(o) * stride], *Ca = &w.out[1][static_cast<size_t>(o) * stride];
        for (int p = 0; p < positions; ++p) {
            Ba[p] = r.B_out[from + p] * r.post[from + p];
            Ca[p] = r.C_out[from + p] * r.post[from + p];
        }
        if (!termwise) {
            std::copy(r.D_out + from, r.D_out + from + positions, &w.out[2][static_cast<size_t>(o) * stride]);
            std::copy(r.E_out + from, r.E_out + from + positions, &w.out[3][static_cast<size_t>(o) * stride]);
        }
    }
    // Could any connection overflow? Then the comparisons above could drop a NaN, and the caller takes the slow way.
    Largest<T> in[4], out[4];
    for (int k = 0; k < arrays; ++k) {
        for (int c = 0; c < g.channels; ++c)
            for (int phase = 0; phase < g.stride_w; ++phase) {
                const int used = (g.width - phase + g.stride_w - 1) / g.stride_w;
                if (g.stride_w == 1) in[k].see(w.in[k].row(c, 0, 0), g.height * g.width);
                else
                    for (int y = 0; y < g.height; ++y) in[k].see(w.in[k].row(c, phase, y), std::max(0, used));
            }
        for (int o = 0; o < g.outputs; ++o) out[k].see(&w.out[k][static_cast<size_t>(o) * stride], positions);
    }
    T bound = in[0].value + out[0].value + in[1].value * out[1].value;
    bool finite = true;
    for (int k = 0; k < arrays; ++k) finite &= in[k].finite && out[k].finite;
    if (!termwise) bound = (in[3].value + out[3].value) * (bound + in[2].value * out[2].value);
    (void)inputs;
    return finite && bound * positions < std::numeric_limits<T>::max();
}

// Adds the update to one individual's kernel. `constant` and `rate` are the aggregates of D and eta, or null: per connection.
// False where a number could overflow; then nothing was changed.
template <class T, int MODE>
static bool share(const Geometry& g, const Neurons<T>& r, Workspace<T>& w, const T* constant, const T* rate, T* kernel) {
    using L = Lanes<T>;
    const bool termwise = constant != nullptr;
    if (!prepare(g, r, w, termwise)) return false;
    const int stride = g.positions() + L::N, arrays = termwise ? 2 : 4, channels = g.group_channels(), of_group = g.group_outputs();
    const int most = MODE == MEDIAN || termwise ? g.positions() : std::min(TILE, g.positions());
    for (int k = 0; k < arrays; ++k) {
        w.in_tile[k].resize(most + 2 * L::N);
        w.out_tile[k].resize(static_cast<size_t>(g.outputs) * (most + 2 * L::N));
    }
    for (auto& v : w.values) v.resize(g.positions() + 2 * L::N);
    w.sums.resize(static_cast<size_t>(g.outputs) * channels * L::N);
    w.of_inputs.resize(g.channels);
    w.of_outputs.resize(g.outputs);
    bool outputs_known = false;  // the aggregate of B a is the same for every tap that meets all outputs
    for (int tap = 0; tap < g.taps(); ++tap) {
        const int u = tap / g.kernel_w, v = tap % g.kernel_w;
        const Rectangle here = connected(g, u, v);
        const int n = here.size();
        if (!n) continue;
        for (size_t i = 0; i < w.sums.size(); i += L::N) L::store(&w.sums[i], neutral<T, MODE == MEDIAN ? MEAN : MODE>());
        for (int from = 0; from < n; from += most) {
            const int to = std::min(n, from + most), length = to - from;
            const bool direct = here.is_all(g);
            if (!direct)
                for (int o = 0; o < g.outputs; ++o)
                    for (int k = 0; k < arrays; ++k)
                        gather_outputs(g, here, &w.out[k][static_cast<size_t>(o) * stride], from, to, &w.out_tile[k][static_cast<size_t>(o) * (most + 2 * L::N)]);
            const auto output = [&](int k, int o) -> const T* {
                return direct ? &w.out[k][static_cast<size_t>(o) * stride] + from : &w.out_tile[k][static_cast<size_t>(o) * (most + 2 * L::N)];
            };
            if (termwise && !(direct && outputs_known)) {
                for (int o = 0; o < g.outputs; ++o) w.of_outputs[o] = aggregate<T, MODE>(output(0, o), n, w.values[0]);
                outputs_known = direct;
            }
            for (int c = 0; c < g.channels; ++c) {
                T* in[4];
                for (int k = 0; k < arrays; ++k) {
                    in[k] = w.in_tile[k].data();
                    w.in[k].gather(g, here, c, u, v, from, to, in[k]);
                }
                if (termwise) w.of_inputs[c] = aggregate<T, MODE>(in[0], n, w.values[0]);
                const int first = c / channels * of_group;
                for (int o = first; o < first + of_group; o += BLOCK) {
                    const int block = std::min(BLOCK, first + of_group - o);
                    const T* out[BLOCK][4];
                    for (int b = 0; b < block; ++b)
                        for (int k = 0; k < arrays; ++k) out[b][k] = output(k, o + b);
                    T sums[BLOCK * L::N];
                    const auto place = [&](int b) { return &w.sums[(static_cast<size_t>(o + b) * channels + c % channels) * L::N]; };
                    for (int b = 0; b < block; ++b) L::store(sums + b * L::N, L::load(place(b)));
                    using F = void (*)(T* const*, const T* const (*)[4], int, T*, std::vector<T>*);
                    static const F each[2][BLOCK] = {
                        {accumulate<T, MODE, false, 1>, accumulate<T, MODE, false, 2>, accumulate<T, MODE, false, 3>, accumulate<T, MODE, false, 4>},
                        {accumulate<T, MODE, true, 1>, accumulate<T, MODE, true, 2>, accumulate<T, MODE, true, 3>, accumulate<T, MODE, true, 4>}};
                    each[termwise][block - 1](in, out, length, sums, w.values);
                    for (int b = 0; b < block; ++b) {
                        if (MODE == MEDIAN) sums[b * L::N] = median(w.values[b].data(), n);
                        L::store(place(b), L::load(sums + b * L::N));
                    }
                }
            }
            if (termwise || to == n)
                for (int o = 0; o < g.outputs; ++o)
                    for (int c = 0; c < channels; ++c) {
                        const T* lanes = &w.sums[(static_cast<size_t>(o) * channels + c) * L::N];
                        T change = MODE == MEDIAN ? lanes[0] : reduce<T, MODE>(lanes);
                        if (MODE == MEAN) change /= n;
                        const size_t element = (static_cast<size_t>(o) * channels + c) * g.taps() + tap;
                        if (termwise) change = (w.of_inputs[o / of_group * channels + c] + w.of_outputs[o] + change + constant[element]) * rate[element];
                        else change *= T(0.5);  // of the two rates
                        kernel[element] += change;
                    }
        }
    }
    return true;
}
