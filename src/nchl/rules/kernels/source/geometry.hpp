// Index arithmetic of a convolution: the addresses of the neurons that a kernel tap connects.
#pragma once
#include "vectors.hpp"

struct Geometry {
    int32_t channels, outputs, kernel_h, kernel_w, height, width, stride_h, stride_w, top, left, dilation_h, dilation_w, groups, out_h, out_w;
    int positions() const { return out_h * out_w; }
    int taps() const { return kernel_h * kernel_w; }
    int group_channels() const { return channels / groups; }
    int group_outputs() const { return outputs / groups; }
    size_t weights() const { return static_cast<size_t>(outputs) * group_channels() * taps(); }
};

// The rectangle of output positions with the tap inside the input.
struct Rectangle {
    int y0, x0, rows, columns;
    int size() const { return rows * columns; }
};

static inline void span(int out, int stride, int shift, int size, int& from, int& count) {  // input = output * stride + shift
    from = shift < 0 ? (-shift + stride - 1) / stride : 0;
    const int last = size - 1 - shift;
    const int to = last < 0 ? 0 : std::min(out, last / stride + 1);
    count = std::max(0, to - from);
}

static inline Rectangle connected(const Geometry& g, int tap) {
    Rectangle r;
    span(g.out_h, g.stride_h, tap / g.kernel_w * g.dilation_h - g.top, g.height, r.y0, r.rows);
    span(g.out_w, g.stride_w, tap % g.kernel_w * g.dilation_w - g.left, g.width, r.x0, r.columns);
    if (!r.rows || !r.columns) r.rows = r.columns = 0;
    return r;
}

template <class T> static inline int whole_vectors(int n) { return (n + Lanes<T>::N - 1) / Lanes<T>::N * Lanes<T>::N; }

// Numbers 0, 2, 4, ... of two vectors in memory.
template <class T> static inline typename Lanes<T>::V every_second(const T* p) {
    using L = Lanes<T>;
    typename L::I even;
    for (int l = 0; l < L::N; ++l) even[l] = 2 * l;
    return pick(L::load(p), L::load(p + L::N), even);
}

// out[i] = f(i), a vector at a time, and no further.
template <class T, class F> static inline void write_out(int n, F f, T* out) {
    using L = Lanes<T>;
    int i = 0;
    for (; i + L::N <= n; i += L::N) L::store(out + i, f(i));
    if (i < n) store_first(out + i, f(i), n - i);
}

// Maps of neurons, with rows of whole vectors. The columns are sorted by their remainder modulo a stride, so that the inputs of a tap
// in one row are contiguous. Values beyond a row's end are undefined.
template <class T> class Planes {
    Buffer<T> memory, line;
    int stride = 1, height = 0, width = 0;

  public:
    size_t pitch = 0, phase = 0, channel = 0;  // from one row, one remainder, one channel to the next
    void shape(int channels, int rows, int columns, int step) {
        stride = step, height = rows, width = columns;
        pitch = whole_vectors<T>((columns + step - 1) / step), phase = pitch * rows, channel = phase * step;
        memory.grow(channel * channels);
        line.grow(columns + Lanes<T>::N);
    }
    T* data() { return memory.data(); }
    void clear(int channels) { std::fill_n(data(), channel * channels, T(0)); }
    // The offset of column x in a row.
    size_t at(int c, int y, int x) const {
        const size_t row = c * channel + y * pitch;
        return stride == 1 ? row + x : row + x % stride * phase + x / stride;
    }
    // One row from column x0 on; write(line) makes its `count` numbers, whole vectors of them.
    template <class F> void row(int c, int y, int x0, int count, F write) {
        if (stride == 1 && x0 == 0) return write(data() + at(c, y, 0));
        write(line.data());
        for (int r = 0; r < stride && r < count; ++r) {
            T* out = data() + at(c, y, x0 + r);
            const T* in = line.data() + r;
            if (stride == 2) write_out<T>((count - r + 1) / 2, [=](int q) { return every_second<T>(in + 2 * q); }, out);
            else
                for (int q = 0; r + q * stride < count; ++q) out[q] = in[q * stride];
        }
    }
};

// Calls f(offset, load) for each vector of n numbers; in the last one, load does not read beyond the numbers.
template <class T, class F> static inline void vectors(int n, F f) {
    using L = Lanes<T>;
    int i = 0;
    for (; i + L::N <= n; i += L::N) f(i, [](const T* p) { return L::load(p); });
    if (const int rest = n - i; rest > 0) f(i, [rest](const T* p) { return load_first(p, rest); });
}

// x = f(x), a vector at a time.
template <class T, class F> static void map(int n, T* x, F f) {
    using L = Lanes<T>;
    int i = 0;
    for (; i + L::N <= n; i += L::N) L::store(x + i, f(L::load(x + i)));
    if (i < n) store_first(x + i, f(load_first(x + i, n - i)), n - i);
}
