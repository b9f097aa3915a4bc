// SoftHebb's update of a kernel element by the largest, smallest or (lower) median of its connections' updates.
//
//     dW[o, k] = share over positions p of   sum over the batch of s[b, p, o] x[b, p, k]  -  decay[p, o] W[o, k]
//
// The lanes of a vector are elements k of one unit; all positions of a vector are computed, shared and dropped. The median comes
// from a sorting network (Batcher's merge exchange), which sorts all lanes at once. No number depends on the number of threads.
#include "vectors.hpp"

using L = Lanes<float>;
using V = L::V;
static constexpr int64_t UNITS = 4;  // that share loaded patches

// The vectors of one unit, or of UNITS of them, one after the other: `moves` is (units, positions).
template <int64_t N>
static void moves_of(int64_t positions, int64_t batch, int64_t stride, const V* x, const float* s, const float* decay, const V* w, V* moves) {
    for (int64_t p = 0; p < positions; ++p) {
        V sum[N] = {};
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t n = 0; n < N; ++n) sum[n] += x[p * batch + b] * s[n * stride + p * batch + b];
        for (int64_t n = 0; n < N; ++n) moves[n * positions + p] = sum[n] - w[n] * decay[n * positions + p];
    }
}

// Sort n vectors, lane by lane.
static void sort(V* v, int64_t n) {
    int64_t top = 1;
    while (2 * top < n) top *= 2;
    for (int64_t p = top; p > 0; p /= 2)
        for (int64_t q = top, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (int64_t i = 0; i + d < n; ++i)
                if ((i & p) == r) {
                    const V low = smaller(v[i], v[i + d]);
                    v[i + d] = larger(v[i], v[i + d]);
                    v[i] = low;
                }
            if (q == p) break;
        }
}

static V shared(V* moves, int64_t positions, int32_t sharing) {
    V result = moves[0];
    L::I odd = moves[0] != moves[0];
    for (int64_t p = 1; p < positions; ++p) odd |= moves[p] != moves[p];
    if (sharing == 0)
        for (int64_t p = 1; p < positions; ++p) result = larger(result, moves[p]);
    else if (sharing == 1)
        for (int64_t p = 1; p < positions; ++p) result = smaller(result, moves[p]);
    else {
        sort(moves, positions);
        result = moves[(positions - 1) / 2];
    }
    return odd ? L::all(std::numeric_limits<float>::quiet_NaN()) : result;
}

// sharing: 0 largest, 1 smallest, 2 lower median. x (batch, positions, fan_in), s (units, positions, batch), decay (units, positions),
// weights and update (units, fan_in).
extern "C" void share(int64_t batch, int64_t positions, int64_t units, int64_t fan_in, int32_t threads, int32_t sharing, const float* x,
                      const float* s, const float* decay, const float* weights, float* update) {
    const int64_t blocks = (fan_in + L::N - 1) / L::N, stride = positions * batch;
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> held((stride + UNITS * positions + 1) * L::N);
        V* const local = reinterpret_cast<V*>((reinterpret_cast<uintptr_t>(held.data()) + WIDTH - 1) / WIDTH * WIDTH);
        V* const moves = local + stride;
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t k = block * L::N;
            const int width = static_cast<int>(std::min<int64_t>(L::N, fan_in - k));
            const auto get = [&](const float* p) { return width == L::N ? L::load(p) : load_first<float>(p, width); };
            for (int64_t b = 0; b < batch; ++b)
                for (int64_t p = 0; p < positions; ++p) local[p * batch + b] = get(x + (b * positions + p) * fan_in + k);
            for (int64_t o = 0; o < units;) {
                const int64_t together = o + UNITS <= units ? UNITS : 1;
                V w[UNITS];
                for (int64_t n = 0; n < together; ++n) w[n] = get(weights + (o + n) * fan_in + k);
                const float *from = s + o * stride, *least = decay + o * positions;
                if (together == UNITS) moves_of<UNITS>(positions, batch, stride, local, from, least, w, moves);
                else moves_of<1>(positions, batch, stride, local, from, least, w, moves);
                for (int64_t n = 0; n < together; ++n, ++o) {
                    const V result = shared(moves + n * positions, positions, sharing);
                    if (width == L::N) L::store(update + o * fan_in + k, result);
                    else store_first<float>(update + o * fan_in + k, result, width);
                }
            }
        }
    }
}
