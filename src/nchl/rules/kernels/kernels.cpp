// What Python calls: one function per operation and type, over a population; individuals are spread over threads, and no
// individual's numbers depend on which thread he met.
#include "share.hpp"

// B output channels at `length` positions: rows (B, patch) times tiles (patch, TILE), in registers.
template <class T, int B>
static void patches(const T* tiles, int patch, int length, const T* rows, const T* start, T* out) {
    using L = Lanes<T>;
    static constexpr int WIDE = WIDTH == 64 ? 4 : 2;  // as many vectors as the registers hold
    for (int p = 0; p < length; p += WIDE * L::N) {
        typename L::V sums[B][WIDE];
        for (int b = 0; b < B; ++b)
            for (int v = 0; v < WIDE; ++v) sums[b][v] = L::all(start[b]);
        for (int k = 0; k < patch; ++k) {
            const T* x = tiles + k * TILE + p;
            for (int b = 0; b < B; ++b) {
                const auto weight = L::all(rows[b * patch + k]);
                for (int v = 0; v < WIDE; ++v) sums[b][v] += weight * L::load(x + v * L::N);
            }
        }
        for (int b = 0; b < B; ++b)
            for (int v = 0; v < WIDE; ++v) L::store(out + b * TILE + p + v * L::N, sums[b][v]);
    }
}

template <class T> static void convolve(const Geometry& g, const T* x, const T* kernel, const T* bias, T* y, Workspace<T>& w) {
    using L = Lanes<T>;
    // Padding as zeros that are there: every tap then meets every output position.
    Geometry padded = g;
    padded.height = (g.out_h - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
    padded.width = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
    padded.top = padded.left = 0;
    Planes<T>& in = w.in[0];
    in.prepare(padded);
    std::fill_n(in.data(), in.size(), T(0));
    const int rows = std::min(g.height, padded.height - g.top), columns = std::min(g.width, padded.width - g.left);
    for (int c = 0; c < g.channels; ++c)
        for (int i = 0; i < rows; ++i) {
            const T* from = x + (static_cast<size_t>(c) * g.height + i) * g.width;
            if (g.stride_w == 1) std::copy_n(from, std::max(0, columns), in.row(c, 0, i + g.top) + g.left);
            else
                for (int j = 0; j < columns; ++j) in.row(c, (j + g.left) % g.stride_w, i + g.top)[(j + g.left) / g.stride_w] = from[j];
        }
    const int n = g.positions(), outputs = g.group_outputs(), patch = g.group_channels() * g.taps();
    const Rectangle all{0, 0, g.out_h, g.out_w};
    w.in_tile[0].grow(static_cast<size_t>(patch) * TILE);
    w.out_tile[0].grow(BLOCK * TILE);
    for (int group = 0; group < g.groups; ++group)
        for (int from = 0; from < n; from += TILE) {
            const int to = std::min(n, from + TILE), length = to - from;
            for (int k = 0; k < patch; ++k) {
                T* tile = w.in_tile[0].data() + k * TILE;
                gather_inputs(padded, all, &in, 1, group * g.group_channels() + k / g.taps(), k % g.taps(), from, to, &tile);
            }
            for (int o = group * outputs; o < (group + 1) * outputs; o += BLOCK) {
                const int block = std::min(BLOCK, (group + 1) * outputs - o);
                const T* rows = kernel + static_cast<size_t>(o) * patch;
                T start[BLOCK];
                for (int b = 0; b < block; ++b) start[b] = bias ? bias[o + b] : T(0);
                static constexpr void (*each[BLOCK])(const T*, int, int, const T*, const T*, T*) = {patches<T, 1>, patches<T, 2>, patches<T, 3>, patches<T, 4>};
                each[block - 1](w.in_tile[0].data(), patch, length, rows, start, w.out_tile[0].data());
                for (int b = 0; b < block; ++b) std::copy_n(w.out_tile[0].data() + b * TILE, length, y + static_cast<size_t>(o + b) * n + from);
            }
        }
}

template <class T> static T dot(const T* a, const T* b, int n) {
    using L = Lanes<T>;
    typename L::V sums[4] = {};
    int p = 0;
    for (; p + 4 * L::N <= n; p += 4 * L::N)
        for (int k = 0; k < 4; ++k) sums[k] += L::load(a + p + k * L::N) * L::load(b + p + k * L::N);
    for (; p + L::N <= n; p += L::N) sums[0] += L::load(a + p) * L::load(b + p);
    T lanes[L::N];
    L::store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    T total = reduce<T, MEAN>(lanes);
    for (; p < n; ++p) total += a[p] * b[p];
    return total;
}

template <class T> static void move_linear(int inputs, int outputs, const Neurons<T>& r, Workspace<T>& w, T* weight) {
    w.sums_in.grow(2 * inputs);
    T *Aa = w.sums_in.data(), *Ca = Aa + inputs;
    for (int i = 0; i < inputs; ++i) Aa[i] = r.A_in[i] * r.pre[i], Ca[i] = r.C_in[i] * r.pre[i];
    for (int j = 0; j < outputs; ++j) {
        const T Ba = r.B_out[j] * r.post[j], Cb = r.C_out[j] * r.post[j], D = r.D_out[j], eta = r.E_out[j];
        T* row = weight + static_cast<size_t>(j) * inputs;
        for (int i = 0; i < inputs; ++i) row[i] += T(0.5) * (r.E_in[i] + eta) * (Aa[i] + Ba + Ca[i] * Cb + r.D_in[i] * D);
    }
}

// The ABCD rule; A, B, C, D, eta per synapse.
template <class T> static void move_synaptic(int inputs, int outputs, const T* pre, const T* post, const T* const* rules, size_t first, T* weight) {
    for (int j = 0; j < outputs; ++j) {
        const size_t at = static_cast<size_t>(j) * inputs;
        const T *A = rules[0] + first + at, *B = rules[1] + first + at, *C = rules[2] + first + at, *D = rules[3] + first + at, *eta = rules[4] + first + at;
        const T b = post[j];
        T* row = weight + at;
#pragma GCC ivdep
        for (int i = 0; i < inputs; ++i) row[i] += eta[i] * (A[i] * pre[i] + B[i] * b + C[i] * pre[i] * b + D[i]);
    }
}

template <class T> static void normalise(int count, T* weight) {
    Largest<T> most;
    most.see(weight, count);
    if (most.value > 0)
        for (int i = 0; i < count; ++i) weight[i] /= most.value;
}

template <class T> static Workspace<T>& workspace() {
    static thread_local Workspace<T> mine;
    return mine;
}

template <class T> static Neurons<T> individual(const T* const* arrays, int p, int inputs, int outputs) {
    const size_t i = static_cast<size_t>(p) * inputs, o = static_cast<size_t>(p) * outputs;
    return {arrays[0] + i, arrays[1] + o, arrays[2] + i, arrays[3] + i, arrays[4] + i,
            arrays[5] + i, arrays[6] + o, arrays[7] + o, arrays[8] + o, arrays[9] + o};
}

// Arrays of `neurons`: pre, post, A_in, C_in, D_in, eta_in, B_out, C_out, D_out, eta_out, each (people, neurons).
#define EXPORT(T, NAME)                                                                                                              \
    extern "C" void share_##NAME(const Geometry* g, int sharing, int people, int threads, const T* const* neurons, const T* constant, \
                                 const T* rate, T* kernel, unsigned char* overflow) {                                                 \
        const int inputs = g->channels * g->height * g->width, outputs = g->outputs * g->positions();                                 \
        const size_t size = static_cast<size_t>(g->outputs) * g->group_channels() * g->taps();                                        \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int p = 0; p < people; ++p) {                          \
            FlushDenormals flush;                                                                                                     \
            const auto way = sharing == MAX ? share<T, MAX> : sharing == MIN ? share<T, MIN> : sharing == MEAN ? share<T, MEAN> : share<T, MEDIAN>; \
            overflow[p] = !way(*g, individual(neurons, p, inputs, outputs), workspace<T>(), constant ? constant + p * size : nullptr, \
                               rate ? rate + p * size : nullptr, kernel + p * size);                                                  \
        }                                                                                                                             \
    }                                                                                                                                 \
    extern "C" void convolve_##NAME(const Geometry* g, int people, int batch, int threads, const T* x, const T* kernel, const T* bias, T* y) { \
        const size_t inputs = static_cast<size_t>(g->channels) * g->height * g->width, outputs = static_cast<size_t>(g->outputs) * g->positions(); \
        const size_t size = static_cast<size_t>(g->outputs) * g->group_channels() * g->taps();                                        \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int p = 0; p < people * batch; ++p) {                  \
            FlushDenormals flush;                                                                                                     \
            convolve(*g, x + p * inputs, kernel + p / batch * size, bias, y + p * outputs, workspace<T>());                           \
        }                                                                                                                             \
    }                                                                                                                                 \
    extern "C" void linear_##NAME(int inputs, int outputs, int people, int batch, int threads, const T* x, const T* weight, const T* bias, T* y) { \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int p = 0; p < people * batch; ++p) {                  \
            FlushDenormals flush;                                                                                                     \
            const T *a = x + static_cast<size_t>(p) * inputs, *w = weight + static_cast<size_t>(p / batch) * inputs * outputs;        \
            for (int j = 0; j < outputs; ++j)                                                                                         \
                y[static_cast<size_t>(p) * outputs + j] = dot(a, w + static_cast<size_t>(j) * inputs, inputs) + (bias ? bias[j] : T(0)); \
        }                                                                                                                             \
    }                                                                                                                                 \
    extern "C" void move_linear_##NAME(int inputs, int outputs, int people, int threads, const T* const* neurons, T* weight) {        \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int p = 0; p < people; ++p) {                          \
            FlushDenormals flush;                                                                                                     \
            move_linear(inputs, outputs, individual(neurons, p, inputs, outputs), workspace<T>(), weight + static_cast<size_t>(p) * inputs * outputs); \
        }                                                                                                                             \
    }                                                                                                                                 \
    extern "C" void move_synaptic_##NAME(int inputs, int outputs, int people, int threads, const T* pre, const T* post, const T* const* rules, T* weight) {\
        const size_t size = static_cast<size_t>(inputs) * outputs;                                                                    \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int p = 0; p < people; ++p) {                          \
            FlushDenormals flush;                                                                                                     \
            move_synaptic(inputs, outputs, pre + static_cast<size_t>(p) * inputs, post + static_cast<size_t>(p) * outputs, rules, p * size, weight + p * size);\
        }                                                                                                                             \
    }                                                                                                                                 \
    extern "C" void normalise_##NAME(int count, int people, int threads, T* weight) {                                                 \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int p = 0; p < people; ++p) {                          \
            FlushDenormals flush;                                                                                                     \
            normalise(count, weight + static_cast<size_t>(p) * count);                                                                \
        }                                                                                                                             \
    }

EXPORT(float, float)
EXPORT(double, double)
