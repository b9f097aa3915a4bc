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

template <class T> static int whole_vectors(int n) { return (n + Lanes<T>::N - 1) / Lanes<T>::N * Lanes<T>::N; }

template <class T> struct Neurons {  // one individual's parameters, and whether they can overflow
    const T *pre, *post, *A_in, *C_in, *D_in, *E_in, *B_out, *C_out, *D_out, *E_out;
};

template <class T> struct Workspace {  // of one thread
    Planes<T> in[4];                   // A a, C a, D, eta
    Buffer<T> out[4];                  // B a, C a, D, eta; every plane rounded up to whole vectors
    Buffer<T> in_tile[4], out_tile[4], sums, sums_in, sums_out, values[BLOCK];
};

template <class T> struct Largest {  // absolute value, and whether all were finite
    T value = 0;
    bool finite = true;
    void see(const T* x, int n) {
        using L = Lanes<T>;
        typename L::V most = {};
        typename L::I strange = {};
        const auto look = [&](typename L::V v) {
            const auto size = v < 0 ? -v : v;
            most = larger(size, most);
            strange |= ~(size <= L::all(std::numeric_limits<T>::max()));
        };
        int p = 0;
        for (; p + L::N <= n; p += L::N) look(L::load(x + p));
        if (p < n) look(L::first(n - p) ? L::load(x + p) : typename L::V{});
        for (int l = 0; l < L::N; ++l) {
            value = std::max(value, most[l]);
            finite &= !strange[l];
        }
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

// n connections of one input channel with each of B output channels; the lanes of the aggregates so far are in `sums`.
template <class T, int MODE, bool PRODUCT, int B>
static void accumulate(const T* const* in, const T* const (*out)[4], int n, T* const* sums, T* const* values) {
    using L = Lanes<T>;
    using V = typename L::V;
    V total[B], x[B];
    for (int b = 0; b < B; ++b) total[b] = L::load(sums[b]);
    const auto changes = [&](int p) __attribute__((always_inline)) {
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
    for (; p + L::N <= n; p += L::N) {
        changes(p);
        for (int b = 0; b < B; ++b)
            if (MODE == MEDIAN) L::store(values[b] + p, x[b]);
            else total[b] = combine<MODE>(total[b], x[b]);
    }
    if (p < n) {
        const auto inside = L::first(n - p);
        changes(p);
        for (int b = 0; b < B; ++b)
            if (MODE == MEDIAN) L::store(values[b] + p, x[b]);
            else total[b] = combine<MODE>(total[b], inside ? x[b] : neutral<T, MODE>());
    }
    for (int b = 0; b < B; ++b) {
        if (MODE == MEDIAN) total[b] = L::all(median(values[b], n));
        L::store(sums[b], total[b]);
    }
}

// The same for a term that one side alone makes up.
template <class T, int MODE> static void accumulate(const T* x, int n, T* sums, T* values) {
    using L = Lanes<T>;
    auto total = L::load(sums);
    if (MODE == MEDIAN) {
        copy(x, n, values);
        total = L::all(median(values, n));
    } else {
        int p = 0;
        for (; p + L::N <= n; p += L::N) total = combine<MODE>(total, L::load(x + p));
        if (p < n) total = combine<MODE>(total, L::first(n - p) ? L::load(x + p) : neutral<T, MODE>());
    }
    L::store(sums, total);
}

template <class T, int MODE> static T finish(const T* lanes, int n) {
    if (MODE == MEDIAN) return lanes[0];
    const T result = reduce<T, MODE>(lanes);
    return MODE == MEAN ? result / n : result;
}

// Products of parameters and activations, once per neuron (pointers are copied so that the compiler sees that they stay). False where a connection could overflow: the comparisons above
// could then drop a NaN, and the caller takes the slow way.
template <class T> static bool prepare(const Geometry& g, const Neurons<T>& r, Workspace<T>& w, int arrays) {
    const int positions = g.positions(), plane = whole_vectors<T>(positions);
    for (int k = 0; k < arrays; ++k) {
        w.in[k].prepare(g);
        w.out[k].grow(static_cast<size_t>(g.outputs) * plane);
    }
    const T *pre = r.pre, *post = r.post, *A = r.A_in, *C = r.C_in, *B = r.B_out, *Co = r.C_out;
    w.in[0].fill(g.width, [=](int i) { return A[i] * pre[i]; });
    w.in[1].fill(g.width, [=](int i) { return C[i] * pre[i]; });
    if (arrays == 4) {
        const T *D = r.D_in, *eta = r.E_in;
        w.in[2].fill(g.width, [=](int i) { return D[i]; });
        w.in[3].fill(g.width, [=](int i) { return eta[i]; });
    }
    for (int o = 0; o < g.outputs; ++o, post += positions, B += positions, Co += positions) {
        T *Ba = w.out[0].data() + static_cast<size_t>(o) * plane, *Ca = w.out[1].data() + static_cast<size_t>(o) * plane;
        for (int p = 0; p < positions; ++p) Ba[p] = B[p] * post[p];
        for (int p = 0; p < positions; ++p) Ca[p] = Co[p] * post[p];
        if (arrays == 4) {
            std::copy_n(r.D_out + o * positions, positions, w.out[2].data() + static_cast<size_t>(o) * plane);
            std::copy_n(r.E_out + o * positions, positions, w.out[3].data() + static_cast<size_t>(o) * plane);
        }
    }
    Largest<T> in[4], out[4];
    bool finite = true;
    for (int k = 0; k < arrays; ++k) {
        in[k].see(w.in[k].data(), w.in[k].size());
        for (int o = 0; o < g.outputs; ++o) out[k].see(w.out[k].data() + static_cast<size_t>(o) * plane, positions);
        finite &= in[k].finite && out[k].finite;
    }
    T bound = in[0].value + out[0].value + in[1].value * out[1].value;
    if (arrays == 4) bound = (in[3].value + out[3].value) * (bound + in[2].value * out[2].value);
    return finite && bound * positions < std::numeric_limits<T>::max();
}

// The aggregates of one individual. Per connection: of the change. Termwise: of C_p C_q a_p a_q, of A_p a_p, and of B_q a_q.
template <class T, int MODE> class Shares {
    using L = Lanes<T>;
    const Geometry& g;
    Workspace<T>& w;
    const bool termwise;
    const int arrays, plane, most;  // most: positions at a time; a median needs all of them

  public:
    Shares(const Geometry& g, Workspace<T>& w, bool termwise)
        : g(g), w(w), termwise(termwise), arrays(termwise ? 2 : 4), plane(whole_vectors<T>(g.positions())),
          most(MODE == MEDIAN ? plane : std::min(TILE, plane)) {}

    bool compute(const Neurons<T>& r) {
        if (!prepare(g, r, w, arrays)) return false;
        for (int k = 0; k < arrays; ++k) {
            w.in_tile[k].grow(most);
            w.out_tile[k].grow(static_cast<size_t>(g.outputs) * (most + L::N));
        }
        for (auto& v : w.values) v.grow(plane);
        clear(w.sums, static_cast<size_t>(g.outputs) * g.group_channels() * g.taps());
        clear(w.sums_in, static_cast<size_t>(g.channels) * g.taps());
        clear(w.sums_out, static_cast<size_t>(g.outputs) * g.taps());
        // Taps that meet every output: the outputs of a tile stay in the first cache for all of them.
        for (int from = 0; from < g.positions(); from += most)
            for (int tap = 0; tap < g.taps(); ++tap)
                if (where(tap).is_all(g)) add(tap, where(tap), from, std::min(g.positions(), from + most));
        for (int tap = 0; tap < g.taps(); ++tap) {
            const Rectangle here = where(tap);
            if (!here.is_all(g))
                for (int from = 0; from < here.size(); from += most) add(tap, here, from, std::min(here.size(), from + most));
        }
        return true;
    }

    Rectangle where(int tap) const { return connected(g, tap / g.kernel_w, tap % g.kernel_w); }
    T change(int o, int c, int tap, int n) { return finish<T, MODE>(at(w.sums, (o * g.group_channels() + c) * g.taps() + tap), n); }
    T of_input(int c, int tap, int n) { return finish<T, MODE>(at(w.sums_in, c * g.taps() + tap), n); }
    T of_output(int o, int tap, int n) { return finish<T, MODE>(at(w.sums_out, o * g.taps() + tap), n); }

  private:
    static T* at(Buffer<T>& buffer, int index) { return buffer.data() + static_cast<size_t>(index) * L::N; }
    static void clear(Buffer<T>& buffer, size_t count) {
        buffer.grow(count * L::N);
        for (size_t i = 0; i < count; ++i) L::store(buffer.data() + i * L::N, neutral<T, MODE>());
    }

    // Positions [from, to) of the outputs that the tap connects.
    void add(int tap, const Rectangle& here, int from, int to) {
        const bool direct = here.is_all(g);
        const int n = to - from, channels = g.group_channels(), of_group = g.group_outputs(), blocks = (of_group + BLOCK - 1) / BLOCK;
        const auto output = [&](int k, int o) {
            return direct ? w.out[k].data() + static_cast<size_t>(o) * plane + from : w.out_tile[k].data() + static_cast<size_t>(o) * (most + L::N);
        };
        T *in[4], *values[BLOCK];
        for (int k = 0; k < arrays; ++k) in[k] = w.in_tile[k].data();
        for (int b = 0; b < BLOCK; ++b) values[b] = w.values[b].data();
        for (int o = 0; o < g.outputs; ++o) {
            if (!direct)
                for (int k = 0; k < arrays; ++k) gather_outputs(g, here, w.out[k].data() + static_cast<size_t>(o) * plane, from, to, output(k, o));
            if (termwise) accumulate<T, MODE>(output(0, o), n, at(w.sums_out, o * g.taps() + tap), values[0]);
        }
        for (int c = 0; c < g.channels; ++c) {
            gather_inputs(g, here, w.in, arrays, c, tap, from, to, in);
            if (termwise) accumulate<T, MODE>(in[0], n, at(w.sums_in, c * g.taps() + tap), values[0]);
            const int first = c / channels * of_group;
            for (int block = 0; block < blocks; ++block) {
                const int o = first + block * of_group / blocks, size = first + (block + 1) * of_group / blocks - o;
                const T* out[BLOCK][4];
                T* sums[BLOCK];
                for (int b = 0; b < size; ++b) {
                    for (int k = 0; k < arrays; ++k) out[b][k] = output(k, o + b);
                    sums[b] = at(w.sums, ((o + b) * channels + c % channels) * g.taps() + tap);
                }
                using F = void (*)(const T* const*, const T* const (*)[4], int, T* const*, T* const*);
                static constexpr F each[2][BLOCK] = {
                    {accumulate<T, MODE, false, 1>, accumulate<T, MODE, false, 2>, accumulate<T, MODE, false, 3>, accumulate<T, MODE, false, 4>},
                    {accumulate<T, MODE, true, 1>, accumulate<T, MODE, true, 2>, accumulate<T, MODE, true, 3>, accumulate<T, MODE, true, 4>}};
                each[termwise][size - 1](in, out, n, sums, values);
            }
        }
    }
};

// Adds the update to one individual's kernel. `constant` and `rate` are the aggregates of D and eta, or null: per connection.
// False where a number could overflow; then nothing was changed.
template <class T, int MODE>
static bool share(const Geometry& g, const Neurons<T>& r, Workspace<T>& w, const T* constant, const T* rate, T* kernel) {
    Shares<T, MODE> shares(g, w, constant != nullptr);
    if (!shares.compute(r)) return false;
    const int channels = g.group_channels();
    for (int tap = 0; tap < g.taps(); ++tap) {
        const int n = shares.where(tap).size();
        if (!n) continue;
        for (int o = 0; o < g.outputs; ++o)
            for (int c = 0; c < channels; ++c) {
                const size_t element = (static_cast<size_t>(o) * channels + c) * g.taps() + tap;
                const T change = shares.change(o, c, tap, n);
                if (constant == nullptr) kernel[element] += change * T(0.5);  // of the two rates
                else {
                    const T input = shares.of_input(o / g.group_outputs() * channels + c, tap, n), output = shares.of_output(o, tap, n);
                    kernel[element] += (input + output + change + constant[element]) * rate[element];
                }
            }
    }
    return true;
}
