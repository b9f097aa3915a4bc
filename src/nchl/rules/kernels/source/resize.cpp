// Pictures to another size: each output is a weighted sum of a few rows, then of a few columns. Uint8 in, [0, 1] out.
#include "vectors.hpp"

// Output k of an axis is the sum over t of weights[k * count + t] times input first[k] + t.
struct Axis {
    const int32_t* first;
    const float* weights;
    int32_t count, from, to;  // taps, inputs, outputs
};

// Rows of `columns * channels` interleaved numbers; out: (channels, rows, columns).
static void resize(const uint8_t* in, int channels, const Axis& rows, const Axis& columns, float* line, float* out) {
    const int width = columns.from * channels;
    for (int y = 0; y < rows.to; ++y) {
        std::fill_n(line, width, 0.0f);
        for (int t = 0; t < rows.count; ++t) {
            const uint8_t* from = in + static_cast<size_t>(rows.first[y] + t) * width;
            const float weight = rows.weights[y * rows.count + t];
#pragma GCC ivdep
            for (int x = 0; x < width; ++x) line[x] += weight * from[x];
        }
        for (int c = 0; c < channels; ++c) {
            float* to = out + (static_cast<size_t>(c) * rows.to + y) * columns.to;
            for (int x = 0; x < columns.to; ++x) {
                const float *from = line + columns.first[x] * channels + c, *weights = columns.weights + x * columns.count;
                float sum = 0;
                for (int t = 0; t < columns.count; ++t) sum += weights[t] * from[t * channels];
                to[x] = std::min(1.0f, std::max(0.0f, sum * (1.0f / 255)));
            }
        }
    }
}

// `interleaved`: pictures are (rows, columns, channels); otherwise (channels, rows, columns). `active`: the pictures that are wanted, or null.
extern "C" void resize_pictures(const uint8_t* in, const uint8_t* active, int count, int threads, int channels, int interleaved, const Axis* rows, const Axis* columns, float* out) {
    const int maps = interleaved ? 1 : channels, together = interleaved ? channels : 1;
    const size_t before = static_cast<size_t>(rows->from) * columns->from * together, after = static_cast<size_t>(rows->to) * columns->to * together;
#pragma omp parallel for schedule(static, 1) num_threads(std::max(1, std::min(threads, count * maps)))
    for (int k = 0; k < count * maps; ++k) {
        if (active && !active[k / maps]) continue;
        static thread_local Buffer<float> line;
        line.grow(static_cast<size_t>(columns->from) * together);
        resize(in + k * before, together, *rows, *columns, line.data(), out + k * after);
    }
}
