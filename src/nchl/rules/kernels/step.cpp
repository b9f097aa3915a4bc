// One step of a population of NcHL perceptrons: each weight is read once, moved by the update that waits, multiplied and written.
//
//     W += (eta_i + eta_j) / 2 * (A_i a_i + B_j a_j + C_i a_i C_j a_j + D_i D_j),    a = tanh(W a),    layer by layer
//
// One individual is one task. Every sum is over a row, in an order that follows from the row's length alone.
#include "tanh.hpp"

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

template <class T> struct Workspace {  // of one thread
    Buffer<T> now, next, lanes;
    Buffer<T> in[4];   // A a, C a, D, eta / 2 of the layer's inputs
    Buffer<T> out[4];  // B a, C a, D, eta / 2 of its outputs
};

template <class T> struct Side {
    const T *own, *C, *D, *half;
    explicit Side(Buffer<T>* of) : own(of[0].data()), C(of[1].data()), D(of[2].data()), half(of[3].data()) {}
};

// B rows from row j on. Lanes that are not the row's, or not for the first time, are kept out of the sums.
template <class T, int B, bool UPDATE>
static inline void rows(const Side<T>& in, const Side<T>& out, const T* x, int inputs, int j, T* weight, T* lanes) {
    using L = Lanes<T>;
    using V = typename L::V;
    V Ba[B], Ca[B], Db[B], rate[B], total[B];
    T* row[B];
    for (int b = 0; b < B; ++b) {
        row[b] = weight + static_cast<size_t>(j + b) * inputs;
        total[b] = V{};
        if (UPDATE) {
            Ba[b] = L::all(out.own[j + b]), Ca[b] = L::all(out.C[j + b]);
            Db[b] = L::all(out.D[j + b]), rate[b] = L::all(out.half[j + b]);
        }
    }
    // What the rows share is loaded before any of them is written.
    const auto columns = [&](int i, auto load, auto store, auto keep) __attribute__((always_inline)) {
        const V a = L::load(x + i);
        V Aa, Ca_in, D_in, half;
        if (UPDATE) Aa = L::load(in.own + i), Ca_in = L::load(in.C + i), D_in = L::load(in.D + i), half = L::load(in.half + i);
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
    const auto whole = [&](int i) __attribute__((always_inline)) {
        columns(i, [](const T* p) { return L::load(p); }, [](T* p, V v) { L::store(p, v); }, [](V v) { return v; });
    };
    const int left = inputs % L::N, pairs = left ? inputs - left - L::N : inputs;
    int i = 0;
    for (; i < pairs; i += L::N) whole(i);
    if (left && pairs >= 0) {
        // The last two vectors overlap; both are loaded before either is written, and what they share counts once.
        const int last = inputs - L::N;
        const auto inside = L::first(L::N - left);
        const V a = L::load(x + i), a_last = L::load(x + last);
        V Aa[2], Ca_in[2], D_in[2], half[2];
        if (UPDATE)
            for (int side = 0; side < 2; ++side) {
                const int at = side ? last : i;
                Aa[side] = L::load(in.own + at), Ca_in[side] = L::load(in.C + at), D_in[side] = L::load(in.D + at), half[side] = L::load(in.half + at);
            }
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            __builtin_prefetch(reinterpret_cast<const char*>(row[b] + i) + AHEAD);
            __builtin_prefetch(reinterpret_cast<const char*>(row[b] + last) + AHEAD);
            V now = L::load(row[b] + i), then = L::load(row[b] + last);
            if (UPDATE) {
                now += (half[0] + rate[b]) * (Aa[0] + Ba[b] + Ca_in[0] * Ca[b] + D_in[0] * Db[b]);
                then += (half[1] + rate[b]) * (Aa[1] + Ba[b] + Ca_in[1] * Ca[b] + D_in[1] * Db[b]);
                L::store(row[b] + i, now);
                L::store(row[b] + last, then);
            }
            const V product = then * a_last;
            total[b] += now * a + (inside ? V{} : product);
        }
    } else if (left) {
        const auto inside = L::first(left);
        columns(0, [&](const T* p) { return load_first(p, left); }, [&](T* p, V v) { store_first(p, v, left); }, [&](V v) { return inside ? v : V{}; });
    }
    for (int b = 0; b < B; ++b) L::store(lanes + (j + b) * L::N, total[b]);
}

template <class T, bool UPDATE> static void pass(Workspace<T>& w, const T* x, int inputs, int outputs, T* weight) {
    const Side<T> in(w.in), out(w.out);
    T* lanes = w.lanes.data();
    int j = 0;
    for (; j + ROWS <= outputs; j += ROWS) rows<T, ROWS, UPDATE>(in, out, x, inputs, j, weight, lanes);
    for (; j < outputs; ++j) rows<T, 1, UPDATE>(in, out, x, inputs, j, weight, lanes);
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

// `active (people)`, or null for everyone: the others are not touched, and their outputs are zeros.
template <class T>
static void step(const Plan& plan, const uint8_t* active, T* const* weights, const Group<T>* groups, T* const* last, const T* x, T* y) {
    std::vector<int> who;
    const int outputs = plan.nodes[plan.layers];
    for (int p = 0; p < plan.people; ++p)
        if (!active || active[p])
            who.push_back(p);
        else if (y)
            std::fill_n(y + static_cast<size_t>(p) * outputs, outputs, T(0));
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
