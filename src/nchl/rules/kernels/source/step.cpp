// One step of a population of NcHL graphs with dense edges: each weight is read once, moved by the waiting update, multiplied and
// written. torch.compile takes 1.9 times as long: it does not share loads of the presynaptic side between four rows.
//
//     D = (eta_i + eta_j) / 2 * (A_i a_i + B_j a_j + C_i a_i C_j a_j + D_i D_j),    E = gamma E + D,    W += m E,    x = f(sum of W x)
//
// group by group. One individual is one task. Every sum is over a row, in an order that follows from the row's length alone.
// A trace is a second matrix to read and write, and memory traffic dominates a step. Between two changes of the weights only the
// activations of the rule are kept; the change of the weights adds the steps since the last one to the trace in the same pass.
#include "nchl.hpp"
#include "tanh.hpp"
#include <cmath>

static constexpr int ROWS = 4;      // that share loads of the presynaptic neurons
static constexpr int AHEAD = 4096;  // prefetch distance in bytes: the next rows, then the next individual's

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
    Buffer<T> in[4];   // A a, C a of each step, then D and eta / 2 of the edge's inputs
    Buffer<T> out[4];  // B a, C a of each step, then D and eta / 2 of its outputs
};

template <class T> struct Side {
    const T *own, *C, *D, *half;
    explicit Side(Buffer<T>* of) : own(of[0].data()), C(of[1].data()), D(of[2].data()), half(of[3].data()) {}
};

// The effect of a pass on a weight: none, W += D, W += m D, E = gamma E + D for each step and W += m E, E alone.
enum Mode { STILL, PLAIN, SCALED, TRACED, REMEMBERED };

template <class T> struct Move {
    T gain = 1, gamma = 0;
    T* trace = nullptr;  // of the edge's first weight
    int steps = 1;       // with changes for the trace
    int in = 0, out = 0; // from one step's numbers to the next, in `Side`
};

// The trace after all steps, and the weight, for one vector of each of B rows.
template <class T, Mode M, int B, class V, class Load, class Store>
static inline __attribute__((always_inline)) void traced(const Side<T>& in, const Side<T>& out, const Move<T>& move, int i, int j, V D_in, V half, const V* Db,
                                                         const V* rate, T* const* trace, V* now, Load load, Store store) {
    using L = Lanes<T>;
    V kept[B];
    for (int b = 0; b < B; ++b) kept[b] = load(trace[b] + i);
    const V gamma = L::all(move.gamma);
    for (int s = 0; s < move.steps; ++s) {
        const V Aa = L::load(in.own + s * move.in + i), Ca_in = L::load(in.C + s * move.in + i);
        const T *Ba = out.own + s * move.out + j, *Ca = out.C + s * move.out + j;
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) kept[b] = gamma * kept[b] + nchl(half + rate[b], Aa, L::all(Ba[b]), Ca_in, L::all(Ca[b]), D_in, Db[b]);
    }
    for (int b = 0; b < B; ++b) {
        store(trace[b] + i, kept[b]);
        if (M == TRACED) now[b] += L::all(move.gain) * kept[b];
    }
}

// B rows from row j on. Lanes beyond the row, or counted already, are left out of the sums.
template <class T, int B, Mode M>
static inline void rows(const Side<T>& in, const Side<T>& out, const Move<T>& move, const T* x, int inputs, int j, T* weight, T* lanes) {
    using L = Lanes<T>;
    using V = typename L::V;
    constexpr bool MOVES = M != STILL, TRACES = M == TRACED || M == REMEMBERED, WRITES = MOVES && M != REMEMBERED;
    V Ba[B], Ca[B], Db[B], rate[B], total[B];
    T *row[B], *trace[B];
    for (int b = 0; b < B; ++b) {
        row[b] = weight + static_cast<size_t>(j + b) * inputs;
        trace[b] = TRACES ? move.trace + static_cast<size_t>(j + b) * inputs : nullptr;
        total[b] = V{};
        if (MOVES) {
            Ba[b] = L::all(out.own[j + b]), Ca[b] = L::all(out.C[j + b]);
            Db[b] = L::all(out.D[j + b]), rate[b] = L::all(out.half[j + b]);
        }
    }
    const auto fetch = [&](int i, int b) __attribute__((always_inline)) {
        __builtin_prefetch(reinterpret_cast<const char*>(row[b] + i) + AHEAD);
        if (TRACES) __builtin_prefetch(reinterpret_cast<const char*>(trace[b] + i) + AHEAD);
    };
    // The change of one weight vector of row b by the waiting step.
    const auto plain = [&](V now, int b, V Aa, V Ca_in, V D_in, V half) __attribute__((always_inline)) {
        const V change = nchl(half + rate[b], Aa, Ba[b], Ca_in, Ca[b], D_in, Db[b]);
        return M == SCALED ? now + L::all(move.gain) * change : now + change;
    };
    const auto columns = [&](int i, auto load, auto store, auto keep) __attribute__((always_inline)) {
        const V a = L::load(x + i);
        V Aa, Ca_in, D_in, half;
        if (MOVES) Aa = L::load(in.own + i), Ca_in = L::load(in.C + i), D_in = L::load(in.D + i), half = L::load(in.half + i);
        if constexpr (TRACES) {
            V now[B];
            for (int b = 0; b < B; ++b) fetch(i, b), now[b] = load(row[b] + i);
            traced<T, M, B>(in, out, move, i, j, D_in, half, Db, rate, trace, now, load, store);
            for (int b = 0; b < B; ++b) {
                if (WRITES) store(row[b] + i, now[b]);
                total[b] += keep(now[b] * a);
            }
            return;
        }
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
            fetch(i, b);
            V now = load(row[b] + i);
            if (MOVES) {
                now = plain(now, b, Aa, Ca_in, D_in, half);
                store(row[b] + i, now);
            }
            total[b] += keep(now * a);
        }
    };
    const auto load = [](const T* p) { return L::load(p); };
    const auto store = [](T* p, V v) { L::store(p, v); };
    const auto whole = [&](int i) __attribute__((always_inline)) { columns(i, load, store, [](V v) { return v; }); };
    const int left = inputs % L::N, pairs = left ? inputs - left - L::N : inputs;
    int i = 0;
    for (; i < pairs; i += L::N) whole(i);
    if (left && pairs >= 0) {
        // The last two vectors overlap; both are loaded before either is written, and shared lanes count once.
        const int last = inputs - L::N;
        const auto inside = L::first(L::N - left);
        const V a = L::load(x + i), a_last = L::load(x + last);
        V Aa[2], Ca_in[2], D_in[2], half[2];
        if (MOVES)
            for (int side = 0; side < 2; ++side) {
                const int at = side ? last : i;
                Aa[side] = L::load(in.own + at), Ca_in[side] = L::load(in.C + at), D_in[side] = L::load(in.D + at), half[side] = L::load(in.half + at);
            }
        if constexpr (TRACES) {
            V now[B], then[B], behind[B];
            for (int b = 0; b < B; ++b) {
                fetch(i, b), fetch(last, b);
                now[b] = L::load(row[b] + i), then[b] = L::load(row[b] + last), behind[b] = L::load(trace[b] + last);
            }
            int next = 0;  // `traced` loads the rows in their order
            traced<T, M, B>(in, out, move, i, j, D_in[0], half[0], Db, rate, trace, now, load, store);
            traced<T, M, B>(in, out, move, last, j, D_in[1], half[1], Db, rate, trace, then, [&](const T*) { return behind[next++]; }, store);
            for (int b = 0; b < B; ++b) {
                if (WRITES) L::store(row[b] + i, now[b]), L::store(row[b] + last, then[b]);
                const V product = then[b] * a_last;
                total[b] += now[b] * a + (inside ? V{} : product);
            }
        } else {
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b) {
                fetch(i, b), fetch(last, b);
                V now = L::load(row[b] + i), then = L::load(row[b] + last);
                if (MOVES) {
                    now = plain(now, b, Aa[0], Ca_in[0], D_in[0], half[0]), then = plain(then, b, Aa[1], Ca_in[1], D_in[1], half[1]);
                    L::store(row[b] + i, now);
                    L::store(row[b] + last, then);
                }
                const V product = then * a_last;
                total[b] += now * a + (inside ? V{} : product);
            }
        }
    } else if (left) {
        const auto inside = L::first(left);
        columns(0, [&](const T* p) { return load_first(p, left); }, [&](T* p, V v) { store_first(p, v, left); }, [&](V v) { return inside ? v : V{}; });
    }
    for (int b = 0; b < B; ++b) L::store(lanes + (j + b) * L::N, total[b]);
}

template <class T, Mode M> static void pass(Workspace<T>& w, const Move<T>& move, const T* x, int inputs, int outputs, T* weight) {
    const Side<T> in(w.in), out(w.out);
    T* lanes = w.lanes.data();
    int j = 0;
    for (; j + ROWS <= outputs; j += ROWS) rows<T, ROWS, M>(in, out, move, x, inputs, j, weight, lanes);
    for (; j < outputs; ++j) rows<T, 1, M>(in, out, move, x, inputs, j, weight, lanes);
}

enum Normalise { NONE, MAX, ROW, ZSCORE, CLIP };

// Divides by the largest absolute weight; unchanged if all are zero or one is NaN.
template <class T> static void by_largest(T* weight, size_t count) {
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

// The sum of f over the weights, lane by lane.
template <class T, class F> static T sum(const T* weight, size_t count, F f) {
    using L = Lanes<T>;
    typename L::V total = {};
    size_t i = 0;
    for (; i + L::N <= count; i += L::N) total += f(L::load(weight + i));
    T all = 0;
    for (int l = 0; l < L::N; ++l) all += total[l];
    for (; i < count; ++i) all += f(L::all(weight[i]))[0];
    return all;
}

// Weights that would be divided by 0 are unchanged.
template <class T> static void normalise(int kind, T limit, T* weight, int inputs, int outputs) {
    using V = typename Lanes<T>::V;
    const size_t count = static_cast<size_t>(inputs) * outputs;
    if (kind == MAX) by_largest(weight, count);
    if (kind == ROW)
        for (T* row = weight; row < weight + count; row += inputs) {
            const T squares = sum(row, inputs, [](V v) { return v * v; });
            if (squares > 0)
                for (int i = 0; i < inputs; ++i) row[i] /= std::sqrt(squares);
        }
    if (kind == ZSCORE) {
        const T first = *weight;  // differences from one weight: the deviation of equal weights is 0 despite rounding
        const T mean = first + sum(weight, count, [=](V v) { return v - first; }) / count;
        const T variance = sum(weight, count, [=](V v) { return (v - mean) * (v - mean); }) / count;
        if (variance > 0)
            for (size_t i = 0; i < count; ++i) weight[i] = (weight[i] - mean) / std::sqrt(variance);
    }
    if (kind == CLIP)  // a weight that is not finite is unchanged
        for (size_t i = 0; i < count; ++i) {
            const T clipped = weight[i] < -limit ? -limit : weight[i] > limit ? limit : weight[i];
            weight[i] = weight[i] - weight[i] == 0 ? clipped : weight[i];
        }
}

// Of one group of neurons: activations (people, neurons) of the last step, their average and that of the step before, the
// activations in a mean (people, window, neurons), and the rule's numbers with `stride` from one individual to the next.
template <class T> struct Group {
    T *last, *seen, *before, *history;
    T *past, *past_before;  // (people, capacity, neurons): averages of steps that are not in the trace yet
    const T *A, *B, *C, *D, *eta;
    int64_t stride;
};

template <class T> struct Edge {
    T *weight, *trace;
};

enum Function { TANH, IDENTITY, RELU };
// The waiting update: none; weights (and traces) move; averages are appended to the past; the past is added to the traces.
enum Update { NOTHING, APPLY, KEEP, SETTLE };

struct Plan {
    double alpha, gamma, limit;
    int32_t groups, edges, people, threads, update, forward, normalise, window, count, capacity, past, unused;
    int32_t numbers[];  // neurons of each group, function of each, then pre, post, delay and plastic of each edge

    const int32_t* nodes() const { return numbers; }
    int function(int g) const { return numbers[groups + g]; }
    const int32_t* edge(int e) const { return numbers + 2 * groups + 4 * e; }
};

// The factors of an edge's changes in the steps of the past and, unless they alone are asked for, in the step that waits.
template <class T>
static int gather(const Plan& plan, Workspace<T>& w, const Group<T>& before, const Group<T>& after, int p, bool delayed, int inputs, int outputs) {
    const int past = plan.past, steps = past + (plan.update == APPLY), room = Lanes<T>::N;
    const int in = (inputs + room - 1) / room * room, out = (outputs + room - 1) / room * room;
    for (int k = 0; k < 4; ++k) w.in[k].grow(k < 2 ? in * steps : in), w.out[k].grow(k < 2 ? out * steps : out);
    const auto times = [](T* to, const T* number, const T* a, int n) {
#pragma GCC ivdep
        for (int i = 0; i < n; ++i) to[i] = number[i] * a[i];
    };
    const size_t i = p * before.stride, o = p * after.stride, pre_at = static_cast<size_t>(p) * inputs, post_at = static_cast<size_t>(p) * outputs;
    for (int s = 0; s < steps; ++s) {
        const bool old = s < past;
        const T* seen = old ? (delayed ? before.past_before : before.past) + pre_at * plan.capacity + static_cast<size_t>(s) * inputs
                            : (delayed ? before.before : before.seen) + pre_at;
        const T* made = old ? after.past + post_at * plan.capacity + static_cast<size_t>(s) * outputs : after.seen + post_at;
        times(w.in[0].data() + s * in, before.A + i, seen, inputs);
        times(w.in[1].data() + s * in, before.C + i, seen, inputs);
        times(w.out[0].data() + s * out, after.B + o, made, outputs);
        times(w.out[1].data() + s * out, after.C + o, made, outputs);
    }
    std::copy_n(before.D + i, inputs, w.in[2].data());
    std::copy_n(after.D + o, outputs, w.out[2].data());
    const auto halve = [](T* to, const T* eta, int n) {
#pragma GCC ivdep
        for (int i = 0; i < n; ++i) to[i] = T(0.5) * eta[i];
    };
    halve(w.in[3].data(), before.eta + i, inputs);
    halve(w.out[3].data(), after.eta + o, outputs);
    return steps;
}

// Moves one edge's weights of an individual and leaves the sums of W x, if x is asked for, in the lanes.
template <class T>
static void carry(const Plan& plan, int e, int p, const Group<T>* groups, const Edge<T>& edge, const T* gain, const T* x, Workspace<T>& w) {
    const int32_t* ends = plan.edge(e);
    const int pre = ends[0], post = ends[1], inputs = plan.nodes()[pre], outputs = plan.nodes()[post];
    const size_t size = static_cast<size_t>(inputs) * outputs;
    T* weight = edge.weight + p * size;
    const bool applies = plan.update == APPLY && ends[3], moves = applies || (plan.update == SETTLE && ends[3] && edge.trace);
    if (moves) {
        Move<T> move{gain ? gain[p] : T(1), T(plan.gamma), edge.trace ? edge.trace + p * size : nullptr};
        move.steps = gather(plan, w, groups[pre], groups[post], p, ends[2], inputs, outputs);
        move.in = (inputs + Lanes<T>::N - 1) / Lanes<T>::N * Lanes<T>::N, move.out = (outputs + Lanes<T>::N - 1) / Lanes<T>::N * Lanes<T>::N;
        // The sums are computed without a forward pass too, since the same code gives the same bits.
        const T* of = x ? x : w.in[0].data();
        if (edge.trace && applies) pass<T, TRACED>(w, move, of, inputs, outputs, weight);
        else if (edge.trace) pass<T, REMEMBERED>(w, move, of, inputs, outputs, weight);
        else if (gain) pass<T, SCALED>(w, move, of, inputs, outputs, weight);
        else pass<T, PLAIN>(w, move, of, inputs, outputs, weight);
        if (applies) normalise(plan.normalise, T(plan.limit), weight, inputs, outputs);
    }
    if (x && (!moves || (plan.normalise && applies))) pass<T, STILL>(w, Move<T>{}, x, inputs, outputs, weight);
}

// Appends the averages of the waiting step to the past.
template <class T> static void keep(const Plan& plan, int p, const Group<T>* groups) {
    for (int g = 0; g < plan.groups; ++g) {
        const size_t n = plan.nodes()[g], at = (static_cast<size_t>(p) * plan.capacity + plan.past) * n;
        if (groups[g].past) std::copy_n(groups[g].seen + p * n, n, groups[g].past + at);
        if (groups[g].past_before) std::copy_n(groups[g].before + p * n, n, groups[g].past_before + at);
    }
}

// Each group's sums over its edges, in their order, then its function; `now` has the new activations group by group.
template <class T>
static void individual(const Plan& plan, int p, const Edge<T>* edges, const Group<T>* groups, const T* gain, const T* x, T* y, Workspace<T>& w) {
    using L = Lanes<T>;
    const int32_t* nodes = plan.nodes();
    const auto room = [](int n) { return (n + L::N - 1) / L::N * L::N; };
    int total = 0, widest = 0;
    for (int g = 0; g < plan.groups; ++g) total += room(nodes[g]), widest = std::max(widest, nodes[g]);
    w.now.grow(total);
    w.next.grow(widest);
    w.lanes.grow((static_cast<size_t>(widest) + L::N) * L::N);
    T* now = w.now.data();
    if (plan.update == KEEP) keep(plan, p, groups);
    if (plan.forward) std::copy_n(x + static_cast<size_t>(p) * nodes[0], nodes[0], now);
    int start = room(nodes[0]);
    for (int g = 1; g < plan.groups; ++g) {
        bool first = true;
        for (int e = 0; e < plan.edges; ++e) {
            const int32_t* ends = plan.edge(e);
            if (ends[1] != g) continue;
            const T* source = nullptr;
            if (plan.forward && ends[2]) {
                w.next.grow(nodes[ends[0]]);  // a copy with spare room, as the vectors need
                std::copy_n(groups[ends[0]].last + static_cast<size_t>(p) * nodes[ends[0]], nodes[ends[0]], w.next.data());
                source = w.next.data();
            } else if (plan.forward) {
                source = now;
                for (int before = 0; before < ends[0]; ++before) source += room(nodes[before]);
            }
            carry(plan, e, p, groups, edges[e], gain, source, w);
            if (!plan.forward) continue;
            for (int j = 0; j < nodes[g]; j += L::N) {
                const auto sum = sums(w.lanes.data() + j * L::N);
                L::store(now + start + j, first ? sum : L::load(now + start + j) + sum);
            }
            first = false;
        }
        if (plan.forward && plan.function(g) != IDENTITY)
            for (int j = 0; j < nodes[g]; j += L::N) {
                const auto sum = L::load(now + start + j);
                L::store(now + start + j, plan.function(g) == TANH ? tanh<T>(sum) : sum < 0 ? typename L::V{} : sum);
            }
        start += room(nodes[g]);
    }
    if (!plan.forward) return;
    const T* made = now;
    for (int g = 0; g < plan.groups; made += room(nodes[g]), ++g) {
        const Group<T>& group = groups[g];
        const size_t n = nodes[g], at = p * n;
        if (group.before) std::copy_n(group.seen + at, n, group.before + at);
        std::copy_n(made, n, group.last + at);
        if (group.history) {
            T* history = group.history + at * plan.window;
            std::copy(history + n, history + n * plan.window, history);
            std::copy_n(made, n, history + n * (plan.window - 1));
            for (size_t i = 0; i < n; ++i) {
                T sum = 0;
                for (int s = 0; s < plan.window; ++s) sum += history[s * n + i];
                group.seen[at + i] = sum / plan.count;
            }
        } else if (group.seen != group.last) {
            const T alpha = plan.alpha, rest = T(1 - plan.alpha);
            for (size_t i = 0; i < n; ++i) group.seen[at + i] = alpha * made[i] + rest * group.seen[at + i];
        }
    }
    const int outputs = nodes[plan.groups - 1];
    std::copy_n(groups[plan.groups - 1].last + static_cast<size_t>(p) * outputs, outputs, y + static_cast<size_t>(p) * outputs);
}

// `active (people)`, or null for all; inactive individuals are not touched, and their outputs are zeros. `gain (people)`, or null for 1.
template <class T>
static void step(const Plan& plan, const uint8_t* active, const Edge<T>* edges, const Group<T>* groups, const T* gain, const T* x, T* y) {
    std::vector<int> chosen;
    const int outputs = plan.nodes()[plan.groups - 1];
    for (int p = 0; p < plan.people; ++p)
        if (!active || active[p])
            chosen.push_back(p);
        else if (y)
            std::fill_n(y + static_cast<size_t>(p) * outputs, outputs, T(0));
    const int count = chosen.size(), threads = std::max(1, std::min(plan.threads, count));
#pragma omp parallel num_threads(threads)
    {
        static thread_local Workspace<T> workspace;
        FlushDenormals flush;
#pragma omp for schedule(static)
        for (int k = 0; k < count; ++k) individual(plan, chosen[k], edges, groups, gain, x, y, workspace);
    }
}

#define EXPORT(T)                                                                                                                  \
    extern "C" void step_##T(const Plan* plan, const uint8_t* active, const Edge<T>* edges, const Group<T>* groups, const T* gain, \
                             const T* x, T* y) {                                                                                   \
        step(*plan, active, edges, groups, gain, x, y);                                                                            \
    }

EXPORT(float)
EXPORT(double)
