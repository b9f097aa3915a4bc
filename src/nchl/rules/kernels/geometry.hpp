// Index arithmetic of a convolution: where the neurons that one kernel tap connects lie in memory.
#pragma once
#include "vectors.hpp"

struct Geometry {
    int channels, outputs, kernel_h, kernel_w, height, width, stride_h, stride_w, top, left, dilation_h, dilation_w, groups, out_h, out_w;
    int positions() const { return out_h * out_w; }
    int taps() const { return kernel_h * kernel_w; }
    int group_channels() const { return channels / groups; }
    int group_outputs() const { return outputs / groups; }
};

// Output positions whose tap falls inside the input: a rectangle.
struct Rectangle {
    int y0, x0, rows, columns;
    int size() const { return rows * columns; }
    bool is_all(const Geometry& g) const { return rows == g.out_h && columns == g.out_w; }
};

static inline void span(int out, int stride, int shift, int size, int& from, int& count) {  // input = output * stride + shift
    from = shift < 0 ? (-shift + stride - 1) / stride : 0;
    const int last = size - 1 - shift;
    const int to = last < 0 ? 0 : std::min(out, last / stride + 1);
    count = std::max(0, to - from);
}

static inline Rectangle connected(const Geometry& g, int u, int v) {
    Rectangle r;
    span(g.out_h, g.stride_h, u * g.dilation_h - g.top, g.height, r.y0, r.rows);
    span(g.out_w, g.stride_w, v * g.dilation_w - g.left, g.width, r.x0, r.columns);
    if (!r.rows || !r.columns) r.rows = r.columns = 0;
    return r;
}

// Input planes with the columns sorted by their remainder modulo the stride, so that what a tap meets in one row is contiguous.
template <class T> struct Planes {
    int channels, height, quotient, stride;
    Buffer<T> memory;
    T* data() { return memory.data(); }
    void prepare(const Geometry& g) {
        channels = g.channels, height = g.height, stride = g.stride_w;
        quotient = (g.width + stride - 1) / stride;
        memory.grow(static_cast<size_t>(channels) * stride * height * quotient + 4 * Lanes<T>::N);
    }
    int size() const { return channels * stride * height * quotient; }
    T* row(int c, int phase, int y) { return data() + ((static_cast<size_t>(c) * stride + phase) * height + y) * quotient; }
    template <class F> void fill(int width, F value) {  // value(index in C order)
        int index = 0;
        for (int c = 0; c < channels; ++c)
            for (int y = 0; y < height; ++y, index += width)
                if (stride == 1) {
                    T* out = row(c, 0, y);
                    for (int x = 0; x < width; ++x) out[x] = value(index + x);
                } else
                    for (int phase = 0; phase < stride; ++phase) {
                        T* out = row(c, phase, y);
                        for (int q = 0; q < quotient; ++q) out[q] = phase + q * stride < width ? value(index + phase + q * stride) : T(0);
                    }
    }
};

// Positions [from, to) of a rectangle of outputs, row by row: place(row, column, length, offset in the gathered tile).
template <class F> static inline void rows_of(const Rectangle& r, int from, int to, F place) {
    int y = from / r.columns, x = from % r.columns;
    for (int done = 0; done < to - from;) {
        const int length = std::min(r.columns - x, to - from - done);
        place(y, x, length, done);
        done += length, ++y, x = 0;
    }
}

// Copies in whole vectors: reads and writes up to a vector beyond the end.
template <class T> static inline void copy(const T* in, int length, T* out) {
    for (int i = 0; i < length; i += Lanes<T>::N) Lanes<T>::store(out + i, Lanes<T>::load(in + i));
}

// What tap (u, v) meets of channel c in each of the first `arrays` sets of planes, at positions [from, to) of its rectangle.
template <class T> static void gather_inputs(const Geometry& g, const Rectangle& r, Planes<T>* planes, int arrays, int c, int tap, int from, int to, T* const* out) {
    const int u = tap / g.kernel_w, v = tap % g.kernel_w;
    const int first = r.x0 * g.stride_w + v * g.dilation_w - g.left, phase = first % g.stride_w, q0 = first / g.stride_w;
    const int top = r.y0 * g.stride_h + u * g.dilation_h - g.top;
    rows_of(r, from, to, [&](int y, int x, int length, int at) {
        const size_t place = planes[0].row(c, phase, top + y * g.stride_h) + q0 + x - planes[0].data();
        for (int k = 0; k < arrays; ++k) copy(planes[k].data() + place, length, out[k] + at);
    });
}

// The outputs of a rectangle, positions [from, to), out of one output plane.
template <class T> static void gather_outputs(const Geometry& g, const Rectangle& r, const T* plane, int from, int to, T* out) {
    rows_of(r, from, to, [&](int y, int x, int length, int at) { copy(plane + (r.y0 + y) * g.out_w + r.x0 + x, length, out + at); });
}
