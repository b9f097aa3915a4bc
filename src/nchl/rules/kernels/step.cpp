// One step of a population of NcHL perceptrons: each weight is read once, moved by the update that waits, multiplied and written.
//
//     W += (eta_i + eta_j) / 2 * (A_i a_i + B_j a_j + C_i a_i C_j a_j + D_i D_j),    a = tanh(W a),    layer by layer
//
// One individual is one task. Every sum is over a row, in an order that follows from the row's length alone.
#include "vectors.hpp"

static constexpr int ROWS = 4;      // that share what they load of the presynaptic neurons
static constexpr int AHEAD = 4096;  // bytes from a weight to the one that is fetched meanwhile: the next rows, then the next individual's

// The sum of each of N vectors that follow one another, in one vector: in each round, half as many vectors hold half as long sums.
template <class T, int S> static inline void fold(typename Lanes<T>::V* x) {
    using L = Lanes<T>;
    typename L::I first, second;
    for (int l = 0; l < L::N; ++l) first[l] = l & S ? l - S + L::N : l, second[l] = l & S ? l + L::N : l + S;
    for (int k = 0; k < S; ++k) x[k] = pick(x[k], x[k + S], first) + pick(x[k], x[k + S], second);
    if constexpr (S > 1) fold<T, S / 2>(x);
}

template <class T> static typename Lanes<T>::V sums(const T* lanes) {
    using L = Lanes<T>;
    typename L::V x[L::N];
    for (int k = 0; k < L::N; ++k) x[k] = L::load(lanes + k * L::N);
    fold<T, L::N / 2>(x);
    return x[0];
}

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

template <class T> struct Workspace {
    Buffer<T> now, next, lanes;
    Buffer<T> in[4];   // A a, C a, D, eta / 2 of the layer's inputs
    Buffer<T> out[4];  // B a, C a, D, eta / 2 of its outputs
};

// B rows from row j on. Lanes behind a row's end hold what was there before, and are kept out of the sums.
template <class T, int B, bool UPDATE> static inline void rows(Workspace<T>& w, const T* x, int inputs, int j, T* weight) {
    using L = Lanes<T>;
    using V = typename L::V;
    const T *A = w.in[0].data(), *C = w.in[1].data(), *D = w.in[2].data(), *eta = w.in[3].data();
    V Ba[B], Ca[B], Db[B], rate[B], total[B];
    T* row[B];
    for (int b = 0; b < B; ++b) {
        row[b] = weight + static_cast<size_t>(j + b) * inputs;
        total[b] = V{};
        if (UPDATE) {
            Ba[b] = L::all(w.out[0].data()[j + b]), Ca[b] = L::all(w.out[1].data()[j + b]);
            Db[b] = L::all(w.out[2].data()[j + b]), rate[b] = L::all(w.out[3].data()[j + b]);
        }
    }
    // What the rows share is loaded before any of them is written.
    const auto columns = [&](int i, auto load, auto store, auto keep) __attribute__((always_inline)) {
        const V a = L::load(x + i);
        V Aa, Ca_in, D_in, half;
        if (UPDATE) Aa = L::load(A + i), Ca_in = L::load(C + i), D_in = L::load(D + i), half = L::load(eta + i);
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            __builtin_prefetch(reinterpret_cast<const char*>(row[b] + i) + AHEAD);
            V now = load(row[b] + i);
            if (UPDATE) {
                now += (half + rate[b]) * (Aa + Ba[b] + Ca_in * Ca[b] + D_in * Db[b]);
                store(row[b] + i, now);
            }
            total[b] += keep(now * a);
        }
    };
    int i = 0;
    for (; i + L::N <= inputs; i += L::N)
        columns(i, [](const T* p) { return L::load(p); }, [](T* p, V v) { L::store(p, v); }, [](V v) { return v; });
    if (const int n = inputs - i; n > 0) {
        const auto inside = L::first(n);
        columns(i, [n](const T* p) { return load_first(p, n); }, [n](T* p, V v) { store_first(p, v, n); }, [&](V v) { return inside ? v : V{}; });
    }
    for (int b = 0; b < B; ++b) L::store(w.lanes.data() + (j + b) * L::N, total[b]);
}

template <class T, bool UPDATE> static void pass(Workspace<T>& w, const T* x, int inputs, int outputs, T* weight) {
    int j = 0;
    for (; j + ROWS <= outputs; j += ROWS) rows<T, ROWS, UPDATE>(w, x, inputs, j, weight);
    for (; j < outputs; ++j) rows<T, 1, UPDATE>(w, x, inputs, j, weight);
}

// Divides by the largest absolute weight; zeros stay, and so does everything where a weight is not a number.
template <class T> static void normalise(T* weight, size_t count) {
    using L = Lanes<T>;
    typename L::V most = {};
    typename L::I strange = {};
    const auto see = [&](typename L::V v) __attribute__((always_inline)) {
        most = larger(v < 0 ? -v : v, most);
        strange |= v != v;
    };
    size_t i = 0;
    for (; i + L::N <= count; i += L::N) see(L::load(weight + i));
    if (i < count) see(load_first(weight + i, count - i));
    T largest = 0;
    for (int l = 0; l < L::N; ++l) {
        if (strange[l]) return;
        largest = std::max(largest, most[l]);
    }
    if (largest > 0)
        for (i = 0; i < count; ++i) weight[i] /= largest;
}

// The five numbers of one group of neurons, each (people, neurons) with `stride` from one individual to the next.
template <class T> struct Group {
    const T *A, *B, *C, *D, *eta;
    int64_t stride;
};

struct Plan {
    int32_t layers, people, threads, update, forward, normalise, nodes[];
};

template <class T> static void gather(Workspace<T>& w, const Group<T>& before, const Group<T>& after, int p, const T* pre, const T* post, int inputs, int outputs) {
    for (auto& buffer : w.in) buffer.grow(inputs);
    for (auto& buffer : w.out) buffer.grow(outputs);
    const auto fill = [](Buffer<T>* to, const T* own, const T* C, const T* D, const T* eta, const T* a, int n) {
        T *oa = to[0].data(), *Ca = to[1].data(), *Ds = to[2].data(), *half = to[3].data();
#pragma GCC ivdep
        for (int i = 0; i < n; ++i) oa[i] = own[i] * a[i], Ca[i] = C[i] * a[i], Ds[i] = D[i], half[i] = T(0.5) * eta[i];
    };
    const size_t i = p * before.stride, o = p * after.stride;
    fill(w.in, before.A + i, before.C + i, before.D + i, before.eta + i, pre, inputs);
    fill(w.out, after.B + o, after.C + o, after.D + o, after.eta + o, post, outputs);
}

// `last`: the groups' activations of the last step, read by the update and overwritten by the forward.
template <class T>
static void individual(const Plan& plan, int p, T* const* weights, const Group<T>* groups, T* const* last, const T* x, T* y, Workspace<T>& w) {
    using L = Lanes<T>;
    const int32_t* nodes = plan.nodes;
    const auto at = [&](int k) { return last[k] + static_cast<size_t>(p) * nodes[k]; };
    if (plan.forward) {
        w.now.grow(nodes[0]);
        std::copy_n(x + static_cast<size_t>(p) * nodes[0], nodes[0], w.now.data());
    }
    for (int k = 0; k < plan.layers; ++k) {
        const int inputs = nodes[k], outputs = nodes[k + 1];
        const size_t size = static_cast<size_t>(inputs) * outputs;
        T* weight = weights[k] + p * size;
        w.lanes.grow((static_cast<size_t>(outputs) + L::N) * L::N);
        w.next.grow(outputs);
        if (plan.update) {
            gather(w, groups[k], groups[k + 1], p, at(k), at(k + 1), inputs, outputs);
            // Without a forward too the sums are taken, of something: the same code gives the same bits.
            pass<T, true>(w, plan.forward ? w.now.data() : w.in[0].data(), inputs, outputs, weight);
            if (plan.normalise) normalise(weight, size);
        }
        if (!plan.forward) continue;
        if (!plan.update || plan.normalise) pass<T, false>(w, w.now.data(), inputs, outputs, weight);
        std::copy_n(w.now.data(), inputs, at(k));
        for (int j = 0; j < outputs; j += L::N) L::store(w.next.data() + j, tanh<T>(sums(w.lanes.data() + j * L::N)));
        std::swap(w.now, w.next);
    }
    if (!plan.forward) return;
    const int outputs = nodes[plan.layers];
    std::copy_n(w.now.data(), outputs, at(plan.layers));
    std::copy_n(w.now.data(), outputs, y + static_cast<size_t>(p) * outputs);
}

// `active (people)`, or null for everyone: the others are not touched.
template <class T>
static void step(const Plan& plan, const uint8_t* active, T* const* weights, const Group<T>* groups, T* const* last, const T* x, T* y) {
    std::vector<int> who;
    for (int p = 0; p < plan.people; ++p)
        if (!active || active[p]) who.push_back(p);
    const int count = who.size(), threads = std::max(1, std::min(plan.threads, count));
#pragma omp parallel num_threads(threads)
    {
        static thread_local Workspace<T> workspace;
        FlushDenormals flush;
#pragma omp for schedule(static)
        for (int k = 0; k < count; ++k) individual(plan, who[k], weights, groups, last, x, y, workspace);
    }
}

#define EXPORT(T)                                                                                                                  \
    extern "C" void step_##T(const Plan* plan, const uint8_t* active, T* const* weights, const Group<T>* groups, T* const* last, \
                             const T* x, T* y) {                                                                                   \
        step(*plan, active, weights, groups, last, x, y);                                                                          \
    }

EXPORT(float)
EXPORT(double)
