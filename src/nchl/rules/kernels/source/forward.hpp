// The forward pass of one individual: convolution, matrix product, tanh, ReLU, max pooling.
#pragma once
#include "geometry.hpp"
#include "tanh.hpp"

static constexpr int OUTPUTS = 4, TILES = 4;  // output channels at TILES vectors of positions each, in registers

template <class T> struct Scratch {  // of one thread
    Planes<T> in;
    Buffer<T> line;
    std::vector<size_t> taps;
};

// B output channels; `in` are the TILES addresses of the first tap, `taps` the offsets of the others.
template <class T, int B>
static void tiles(const T* const* in, const std::vector<size_t>& taps, const T* rows, const T* bias, typename Lanes<T>::V (*sums)[TILES]) {
    using L = Lanes<T>;
    typename L::V total[B][TILES];
    for (int b = 0; b < B; ++b)
        for (int t = 0; t < TILES; ++t) total[b][t] = L::all(bias ? bias[b] : T(0));
    const size_t patch = taps.size();
    for (size_t k = 0; k < patch; ++k) {
        typename L::V x[TILES];
        for (int t = 0; t < TILES; ++t) x[t] = L::load(in[t] + taps[k]);
        for (int b = 0; b < B; ++b) {
            const auto weight = L::all(rows[b * patch + k]);
            for (int t = 0; t < TILES; ++t) total[b][t] += weight * x[t];
        }
    }
    for (int b = 0; b < B; ++b)
        for (int t = 0; t < TILES; ++t) sums[b][t] = total[b][t];
}

template <class T> static void convolve(const Geometry& g, const T* x, const T* kernel, const T* bias, T* y, Scratch<T>& s) {
    using L = Lanes<T>;
    // Padding is copied as zeros, so that every tap has an input at every output position.
    const int height = (g.out_h - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
    const int width = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
    const int rows = std::min(g.height, height - g.top), columns = std::min(g.width, width - g.left);
    s.in.shape(g.channels, height, width, g.stride_w);
    if (rows < height || columns < width) s.in.clear(g.channels);
    for (int c = 0; c < g.channels && columns > 0; ++c)
        for (int i = 0; i < rows; ++i)
            s.in.row(c, i + g.top, g.left, columns, [&](T* line) {
                vectors<T>(columns, [&](int j, auto load) { L::store(line + j, load(x + (static_cast<size_t>(c) * g.height + i) * g.width + j)); });
            });
    const int patch = g.group_channels() * g.taps();
    s.taps.resize(patch);
    for (int k = 0; k < patch; ++k) {
        const int tap = k % g.taps();
        s.taps[k] = s.in.at(k / g.taps(), tap / g.kernel_w * g.dilation_h, tap % g.kernel_w * g.dilation_w);
    }
    const int across = (g.out_w + L::N - 1) / L::N, count = across * g.out_h;
    for (int group = 0; group < g.groups; ++group)
        for (int first = 0; first < count; first += TILES) {
            const T* in[TILES];
            int at[TILES], length[TILES];
            for (int t = 0; t < TILES; ++t) {
                const int tile = std::min(first + t, count - 1), row = tile / across, column = tile % across * L::N;
                in[t] = s.in.data() + group * g.group_channels() * s.in.channel + row * g.stride_h * s.in.pitch + column;
                at[t] = row * g.out_w + column, length[t] = std::min(L::N, g.out_w - column);
            }
            for (int o = group * g.group_outputs(), end = o + g.group_outputs(); o < end;) {
                static constexpr void (*each[OUTPUTS])(const T* const*, const std::vector<size_t>&, const T*, const T*, typename L::V (*)[TILES]) = {
                    tiles<T, 1>, tiles<T, 2>, tiles<T, 3>, tiles<T, 4>};
                const int blocks = (end - o + OUTPUTS - 1) / OUTPUTS, block = (end - o + blocks - 1) / blocks;
                typename L::V sums[OUTPUTS][TILES];
                each[block - 1](in, s.taps, kernel + static_cast<size_t>(o) * patch, bias ? bias + o : nullptr, sums);
                for (int b = 0; b < block; ++b)
                    for (int t = 0; t < TILES; ++t) {
                        T* to = y + static_cast<size_t>(o + b) * g.positions() + at[t];
                        if (length[t] == L::N) L::store(to, sums[b][t]);
                        else store_first(to, sums[b][t], length[t]);
                    }
                o += block;
            }
        }
}

template <class T> static T dot(const T* a, const T* b, int n) {
    using L = Lanes<T>;
    typename L::V sums[4] = {};
    int k = 0;
    vectors<T>(n, [&](int i, auto load) { sums[k++ % 4] += load(a + i) * load(b + i); });
    T lanes[L::N], total = 0;
    L::store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (int l = 0; l < L::N; ++l) total += lanes[l];
    return total;
}

template <class T> static void multiply(int inputs, int outputs, const T* x, const T* weight, const T* bias, T* y) {
    for (int j = 0; j < outputs; ++j) y[j] = dot(x, weight + static_cast<size_t>(j) * inputs, inputs) + (bias ? bias[j] : T(0));
}

// The larger, or NaN if one is NaN.
template <class V> static inline V most(V a, V b) {
    const V more = larger(a, b);
    return a == a ? more : a;
}

template <class T> static void along(const T* line, int kernel, int stride, int count, T* out) {
    for (int x = 0; x < count; ++x) {
        T best = line[x * stride];
        for (int v = 1; v < kernel; ++v) best = most(best, line[x * stride + v]);
        out[x] = best;
    }
}

// Max pooling without padding: over the rows in whole vectors, then along the remaining line.
template <class T> static void pool(const Geometry& g, const T* x, T* y, Scratch<T>& s) {
    using L = Lanes<T>;
    s.line.grow(g.width + 2 * L::N);
    T* line = s.line.data();
    for (int c = 0; c < g.channels; ++c)
        for (int row = 0; row < g.out_h; ++row) {
            const T* from = x + (static_cast<size_t>(c) * g.height + row * g.stride_h) * g.width;
            vectors<T>(g.width, [&](int i, auto load) {
                auto best = load(from + i);
                for (int u = 1; u < g.kernel_h; ++u) best = most(best, load(from + u * g.width + i));
                L::store(line + i, best);
            });
            T* to = y + (static_cast<size_t>(c) * g.out_h + row) * g.out_w;
            if (g.kernel_w == 2 && g.stride_w == 2) write_out<T>(g.out_w, [=](int i) { return most(every_second(line + 2 * i), every_second(line + 2 * i + 1)); }, to);
            else along(line, g.kernel_w, g.stride_w, g.out_w, to);
        }
}
