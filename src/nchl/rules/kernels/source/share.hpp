// The NcHL update of a kernel: the change of every connection, or of every term of it, aggregated per kernel element.
//
//     dK[k] = agg over connections (p -> q) of (eta_p + eta_q) / 2 (A_p a_p + B_q a_q + C_p C_q a_p a_q + D_p D_q)
//
// A strip of output rows at a time, so that its data stays in the first-level cache; within it a block of input channels and
// output channels at a time, under one tap, so that each loaded number serves several connections.
#pragma once
#include "geometry.hpp"
#include "nchl.hpp"

enum Sharing { MAX, MIN, MEAN, MEDIAN };
enum Form { CHANGE, PRODUCT, SUM };  // of a connection: its change (twice), or the product or the sum of one number of each side
static constexpr int BLOCK = 3, NEAR = 40 * 1024, AHEAD = 2048;  // channels of a block; bytes of a strip; prefetch distance in bytes

template <class T> struct Neurons {  // of one individual
    const T *pre, *post, *A_in, *C_in, *D_in, *eta_in, *B_out, *C_out, *D_out, *eta_out;
};

struct Tap {
    Rectangle here;   // its outputs
    ptrdiff_t input;  // offset of its input at the first output of row 0, of channel 0
};

template <class T> struct Workspace {  // of one thread
    Planes<T> in[4], out[4];           // A a (or B a), C a, D, eta
    Buffer<T> sums, results, values[BLOCK * BLOCK], in_terms, out_terms;
    std::vector<Tap> taps;
};

// The largest absolute value. As integers, the bits of infinity and NaN are larger than those of any finite number.
template <class T> class Largest {
    using L = Lanes<T>;
    typename L::I most = {};

  public:
    void see(typename L::V v) {
        const auto bits = (typename L::I)v & std::numeric_limits<typename Integer<T>::type>::max();
        most = bits > most ? bits : most;
    }
    T value() const {
        auto bits = most[0];
        for (int l = 1; l < L::N; ++l) bits = std::max(bits, most[l]);
        T result;
        std::memcpy(&result, &bits, sizeof(T));
        return result;
    }
};

template <int MODE, class V> static inline V combine(V a, V x) {
    if (MODE == MAX) return larger(x, a);
    if (MODE == MIN) return smaller(x, a);
    return a + x;
}

template <class T, int MODE> static typename Lanes<T>::V neutral() {
    if (MODE == MEAN) return typename Lanes<T>::V{};
    return Lanes<T>::all(MODE == MAX ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity());
}

// The aggregate over the lanes of each of N vectors, in one vector: in each round, half as many vectors hold half as long aggregates.
template <class T, int MODE, int S = Lanes<T>::N / 2> static inline void fold(typename Lanes<T>::V* x) {
    using L = Lanes<T>;
    typename L::I first, second;
    for (int l = 0; l < L::N; ++l) first[l] = l & S ? l - S + L::N : l, second[l] = l & S ? l + L::N : l + S;
    for (int k = 0; k < S; ++k) x[k] = combine<MODE>(pick(x[k], x[k + S], first), pick(x[k], x[k + S], second));
    if constexpr (S > 1) fold<T, MODE, S / 2>(x);
}

// The connections of a tap in a strip: rows of two sides, of the block's first channels; `step`s to the next row and channel.
template <class T> struct Patch {
    const T *in[4], *out[4];
    size_t in_row, in_channel, out_row, out_channel;
    int rows, columns;
};

// Of CH input channels with OUT output channels each; the lanes of the aggregates so far are in `sums`. For a median the
// connections are written to `values`, and `sums` is unchanged.
template <class T, int MODE, int FORM, int CH, int OUT> static void add(const Patch<T>& p, T* sums, T* const* values) {
    using L = Lanes<T>;
    using V = typename L::V;
    V total[CH * OUT];
    if (MODE != MEDIAN)
        for (int k = 0; k < CH * OUT; ++k) total[k] = L::load(sums + k * L::N);
    const auto inside = L::first(p.columns % L::N);
    for (int y = 0; y < p.rows; ++y) {
        const auto columns = [&](int x, auto keep) __attribute__((always_inline)) {
            const size_t i = y * p.in_row + x, o = y * p.out_row + x;
            V out[4][OUT];
            for (int b = 0; b < OUT; ++b)
                for (int k = 0; k < (FORM == CHANGE ? 4 : 1); ++k) out[k][b] = L::load(p.out[k] + o + b * p.out_channel);
            for (int c = 0; c < CH; ++c) {
                V in[4];
                for (int k = 0; k < (FORM == CHANGE ? 4 : 1); ++k) in[k] = L::load(p.in[k] + i + c * p.in_channel);
                for (int b = 0; b < OUT; ++b) {
                    V v;
                    if (FORM == CHANGE) v = nchl(in[3] + out[3][b], in[0], out[0][b], in[1], out[1][b], in[2], out[2][b]);
                    else if (FORM == PRODUCT) v = in[0] * out[0][b];
                    else v = in[0] + out[0][b];
                    const int k = c * OUT + b;
                    if (MODE == MEDIAN) L::store(values[k] + y * p.columns + x, v);
                    else total[k] = keep(combine<MODE>(total[k], v), total[k]);
                }
            }
        };
        int x = 0;
        for (; x + L::N <= p.columns; x += L::N) columns(x, [](V now, V) { return now; });
        if (x < p.columns) columns(x, [&](V now, V before) { return inside ? now : before; });
    }
    if (MODE != MEDIAN)
        for (int k = 0; k < CH * OUT; ++k) L::store(sums + k * L::N, total[k]);
}

// The aggregate of a rectangle of numbers of one side alone.
template <class T, int MODE> static T alone(const T* from, size_t row, int rows, int columns, T* values) {
    using L = Lanes<T>;
    typename L::V total[L::N] = {neutral<T, MODE>()};
    const auto inside = L::first(columns % L::N);
    for (int y = 0; y < rows; ++y)
        for (int x = 0; x < columns; x += L::N) {
            const auto v = L::load(from + y * row + x), more = combine<MODE>(total[0], v);
            if (MODE == MEDIAN) L::store(values + y * columns + x, v);
            else if (x + L::N <= columns) total[0] = more;
            else total[0] = inside ? more : total[0];
        }
    if (MODE == MEDIAN) return median(values, rows * columns);
    fold<T, MODE>(total);
    return MODE == MEAN ? total[0][0] / (rows * columns) : total[0][0];
}

// One side's numbers as patches read them: a parameter times the activation, C times the activation and, if `still`, D and eta.
template <class T> static void lay(Planes<T>* planes, int channels, int height, int width, int stride, const T* a, const T* own, const T* C,
                                   const T* D, const T* eta, bool still, T* largest) {
    using L = Lanes<T>;
    Largest<T> most[4];
    const T *factors[4] = {own, C, D, eta};
    for (int k = 0; k < (still ? 4 : 2); ++k) planes[k].shape(channels, height, width, stride);
    for (int c = 0, y = 0; c < channels; ++y == height ? y = 0, ++c : c) {
        const size_t from = (static_cast<size_t>(c) * height + y) * width;
        for (int k = 0; k < (still ? 4 : 2); ++k)
            planes[k].row(c, y, 0, width, [&](T* line) {
                vectors<T>(width, [&](int x, auto load) {
                    __builtin_prefetch(reinterpret_cast<const char*>(factors[k] + from + x) + AHEAD);
                    auto v = load(factors[k] + from + x);
                    if (k < 2) v *= load(a + from + x);
                    most[k].see(v);
                    L::store(line + x, v);
                });
            });
    }
    for (int k = 0; k < 4; ++k) largest[k] = most[k].value();
}

// The aggregates of one individual, in the order of the blocks.
template <class T, int MODE> class Shares {
    using L = Lanes<T>;
    const Geometry& g;
    Workspace<T>& w;

  public:
    Shares(const Geometry& g, Workspace<T>& w) : g(g), w(w) {
        w.taps.resize(g.taps());
        w.results.grow(g.weights() + L::N);
        if (MODE == MEDIAN)
            for (auto& v : w.values) v.grow(whole_vectors<T>(g.positions()));
    }

    // False if a connection could overflow: comparisons could then drop a NaN, and the caller uses the torch function.
    bool prepare(const Neurons<T>& r, bool still) {
        T in[4], out[4];
        lay(w.in, g.channels, g.height, g.width, g.stride_w, r.pre, r.A_in, r.C_in, r.D_in, r.eta_in, still, in);
        lay(w.out, g.outputs, g.out_h, g.out_w, 1, r.post, r.B_out, r.C_out, r.D_out, r.eta_out, still, out);
        for (int tap = 0; tap < g.taps(); ++tap) {
            const Rectangle here = connected(g, tap);
            const int column = here.x0 * g.stride_w + tap % g.kernel_w * g.dilation_w - g.left, row = tap / g.kernel_w * g.dilation_h - g.top;
            w.taps[tap] = {here, here.rows ? static_cast<ptrdiff_t>(w.in[0].at(0, 0, column)) + row * static_cast<ptrdiff_t>(w.in[0].pitch) : 0};
        }
        T bound = in[0] + out[0] + in[1] * out[1];
        if (still) bound = (in[3] + out[3]) * (bound + in[2] * out[2]);
        return bound * g.positions() < std::numeric_limits<T>::max();
    }

    // Of a form of the connections' numbers from the array `first` on; then each(f) calls f(element, o, c, tap, aggregate).
    template <int FORM> void compute(int first) {
        const int arrays = FORM == CHANGE ? 4 : 1;
        if (MODE != MEDIAN) {
            w.sums.grow((g.weights() + L::N) * L::N);
            for (size_t i = 0; i < g.weights(); ++i) L::store(w.sums.data() + i * L::N, neutral<T, MODE>());
        }
        T* values[BLOCK * BLOCK];
        for (int k = 0; k < BLOCK * BLOCK; ++k) values[k] = w.values[k].data();
        const int strip = MODE == MEDIAN ? g.out_h : rows_of_strip(arrays);
        for (int top = 0; top < g.out_h; top += strip) {
            size_t index = 0;
            blocks<FORM>([&](int c, int channels, int tap, int o, int outputs) {
                const Rectangle& all = w.taps[tap].here;
                const int y0 = std::max(top, all.y0), y1 = std::min({top + strip, g.out_h, all.y0 + all.rows}), block = channels * outputs;
                if (y0 < y1) {
                    const auto patch = patch_of(first, arrays, c, tap, o, y0, y1 - y0);
                    adder<FORM>(channels, outputs)(patch, w.sums.data() + index * L::N, values);
                }
                if (MODE == MEDIAN)
                    for (int k = 0; k < block; ++k) w.results.data()[index + k] = all.rows ? median(values[k], all.size()) : T(0);
                index += block;
            });
        }
        if (MODE == MEDIAN) return;
        for (size_t i = 0; i < g.weights(); i += L::N) {
            typename L::V lanes[L::N];
            for (int k = 0; k < L::N; ++k) lanes[k] = L::load(w.sums.data() + (i + k) * L::N);
            fold<T, MODE>(lanes);
            L::store(w.results.data() + i, lanes[0]);
        }
    }

    template <int FORM, class F> void each(F f) {
        size_t index = 0;
        blocks<FORM>([&](int c, int channels, int tap, int o, int outputs) {
            const int n = w.taps[tap].here.size(), of_group = g.group_channels(), first = c - o / g.group_outputs() * of_group;
            for (int i = 0; i < channels; ++i)
                for (int b = 0; b < outputs; ++b, ++index) {
                    const size_t element = (static_cast<size_t>(o + b) * of_group + first + i) * g.taps() + tap;
                    if (n) f(element, o + b, c + i, tap, MODE == MEAN ? w.results.data()[index] / n : w.results.data()[index]);
                }
        });
    }

    // Of the first number of the input's side, by channel and tap, and of the output's side.
    void terms() {
        w.in_terms.grow(static_cast<size_t>(g.channels) * g.taps());
        w.out_terms.grow(static_cast<size_t>(g.outputs) * g.taps());
        for (int tap = 0; tap < g.taps(); ++tap) {
            const Rectangle& here = w.taps[tap].here;
            if (!here.rows) continue;
            const auto agg = [&](const T* from, size_t row) { return alone<T, MODE>(from, row, here.rows, here.columns, w.values[0].data()); };
            for (int c = 0; c < g.channels; ++c) w.in_terms.data()[c * g.taps() + tap] = agg(w.in[0].data() + input(c, tap, here.y0), in_row());
            for (int o = 0; o < g.outputs; ++o) {
                T& term = w.out_terms.data()[o * g.taps() + tap];
                const Rectangle& before = w.taps[std::max(0, tap - 1)].here;  // often the same outputs
                if (tap && before.y0 == here.y0 && before.x0 == here.x0 && before.rows == here.rows && before.columns == here.columns) term = (&term)[-1];
                else term = agg(w.out[0].data() + w.out[0].at(o, here.y0, here.x0), w.out[0].pitch);
            }
        }
    }
    T in_term(int c, int tap) { return w.in_terms.data()[c * g.taps() + tap]; }
    T out_term(int o, int tap) { return w.out_terms.data()[o * g.taps() + tap]; }

  private:
    int rows_of_strip(int arrays) {
        const size_t in = std::min(BLOCK, g.group_channels()) * g.stride_h * w.in[0].pitch * g.stride_w, out = g.group_outputs() * w.out[0].pitch;
        const size_t reach = in / g.stride_h * (g.kernel_h - 1) * g.dilation_h, room = NEAR / sizeof(T) / arrays;
        return room > reach ? std::max<size_t>(1, (room - reach) / (in + out)) : 1;
    }
    size_t in_row() { return w.in[0].pitch * g.stride_h; }
    // The input that a tap connects with the output at (y, first column of its rectangle).
    size_t input(int c, int tap, int y) { return w.taps[tap].input + c * w.in[0].channel + y * in_row(); }
    Patch<T> patch_of(int first, int arrays, int c, int tap, int o, int y, int rows) {
        Patch<T> p;
        const size_t in = input(c, tap, y), out = w.out[0].at(o, y, w.taps[tap].here.x0);
        for (int k = 0; k < arrays; ++k) p.in[k] = w.in[first + k].data() + in, p.out[k] = w.out[first + k].data() + out;
        p.in_row = in_row(), p.in_channel = w.in[0].channel, p.out_row = w.out[0].pitch, p.out_channel = w.out[0].channel;
        p.rows = rows, p.columns = w.taps[tap].here.columns;
        return p;
    }
    // Calls f(first input channel, number, tap, first output channel, number) for blocks of nearly equal size.
    template <int FORM, class F> void blocks(F f) {
        static constexpr int most = FORM == SUM ? 1 : BLOCK;
        const auto split = [](int count, auto g) {
            const int parts = (count + most - 1) / most;
            for (int k = 0; k < parts; ++k) g(k * count / parts, (k + 1) * count / parts - k * count / parts);
        };
        const int channels = g.group_channels(), outputs = g.group_outputs();
        for (int group = 0; group < g.groups; ++group)
            split(channels, [&](int c, int some) {
                for (int tap = 0; tap < g.taps(); ++tap)
                    split(outputs, [&](int o, int others) { f(group * channels + c, some, tap, group * outputs + o, others); });
            });
    }
    template <int FORM> static auto adder(int channels, int outputs) {
        using F = void (*)(const Patch<T>&, T*, T* const*);
        if constexpr (FORM == SUM) return F(add<T, MODE, FORM, 1, 1>);
        else {
            static constexpr F each[BLOCK][BLOCK] = {
                {add<T, MODE, FORM, 1, 1>, add<T, MODE, FORM, 1, 2>, add<T, MODE, FORM, 1, 3>},
                {add<T, MODE, FORM, 2, 1>, add<T, MODE, FORM, 2, 2>, add<T, MODE, FORM, 2, 3>},
                {add<T, MODE, FORM, 3, 1>, add<T, MODE, FORM, 3, 2>, add<T, MODE, FORM, 3, 3>}};
            return each[channels - 1][outputs - 1];
        }
    }
};

// Adds the update to one individual's kernel. `constant` and `rate` are the aggregates of D and eta, or null: per connection.
// False if a number could overflow; then the kernel is unchanged.
template <class T, int MODE>
static bool share(const Geometry& g, const Neurons<T>& r, Workspace<T>& w, const T* constant, const T* rate, T* kernel) {
    Shares<T, MODE> shares(g, w);
    if (!shares.prepare(r, constant == nullptr)) return false;
    if (constant == nullptr) {
        shares.template compute<CHANGE>(0);
        shares.template each<CHANGE>([&](size_t element, int, int, int, T change) { kernel[element] += change * T(0.5); });  // of the two rates
    } else {
        shares.template compute<PRODUCT>(1);
        shares.terms();
        shares.template each<PRODUCT>([&](size_t element, int o, int c, int tap, T product) {
            kernel[element] += (shares.in_term(c, tap) + shares.out_term(o, tap) + product + constant[element]) * rate[element];
        });
    }
    return true;
}

// The aggregates of D and eta, which are constant within a lifetime. False as above.
template <class T, int MODE> static bool still_terms(const Geometry& g, const Neurons<T>& r, Workspace<T>& w, T* constant, T* rate) {
    Shares<T, MODE> shares(g, w);
    if (!shares.prepare(r, true)) return false;
    shares.template compute<PRODUCT>(2);
    shares.template each<PRODUCT>([&](size_t element, int, int, int, T product) { constant[element] = product; });
    shares.template compute<SUM>(3);
    shares.template each<SUM>([&](size_t element, int, int, int, T sum) { rate[element] = sum * T(0.5); });
    return true;
}
