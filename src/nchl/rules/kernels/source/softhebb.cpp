// The operations of a SoftHebb step besides its two matrix products: patches, the soft winner-take-all, the weight step, and Triangle.
//
//     s = softmax(t u), negated for all but the winner             dW_o = total_o - (total_o . W_o) W_o
//     W_o += lr * | |W_o| - 1 | ** power / max|dW| * dW_o
//
// total = sum of s x over batch and positions; sum of s u over them is total_o . W_o, because u = W x. No result depends on the
// number of threads: each belongs to one row, and a maximum has no order.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

static constexpr float NOTHING = -60.0f;  // its exp is negligible and not denormal

// exp of -60 <= x <= 0, as 2**n e**r with |r| <= ln 2 / 2; to two units in the last place, and exactly 1 for 0.
static inline float small_exp(float x) {
    const float round = 12582912.0f;  // adding it leaves an integer in the low bits
    const float shifted = x * 1.44269504088896341f + round;
    const float n = shifted - round;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t exponent;
    std::memcpy(&exponent, &shifted, 4);
    exponent = (exponent + 127) << 23;  // the bits of `round` above the integer are shifted out
    float scale;
    std::memcpy(&scale, &exponent, 4);
    return p * scale;
}

// The bits of relu(u - mean over the channels) at one position.
static inline void triangle(const float* u, int64_t channels, int32_t* out) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < channels; ++k) sum += u[k];
    const float mean = sum / channels;
    for (int64_t k = 0; k < channels; ++k) {
        const float above = u[k] - mean;
        int32_t bits;
        std::memcpy(&bits, &above, 4);
        bits = above != above ? 0x7fc00000 : bits;
        out[k] = bits > 0 ? bits : 0;
    }
}

static inline void keep_largest(int32_t* largest, const int32_t* other, int64_t size) {
    for (int64_t k = 0; k < size; ++k) largest[k] = other[k] > largest[k] ? other[k] : largest[k];
}

extern "C" {

// Rows of patches (kernel row, kernel column, channel) of images (batch, height, width, channels) that are padded already.
void patches(const int64_t* sizes, int32_t threads, const float* image, float* out) {
    const int64_t batch = sizes[0], height = sizes[1], width = sizes[2], channels = sizes[3], rows = sizes[4], columns = sizes[5];
    const int64_t stride = sizes[6], out_height = sizes[7], out_width = sizes[8];
    const int64_t run = columns * channels, line = width * channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t at = 0; at < batch * out_height; ++at) {
        const float* from = image + (at / out_height) * height * line + (at % out_height) * stride * line;
        float* to = out + at * out_width * rows * run;
        for (int64_t x = 0; x < out_width; ++x)
            for (int64_t v = 0; v < rows; ++v, to += run) {
                const float* in = from + v * line + x * stride * channels;
                for (int64_t k = 0; k < run; ++k) to[k] = in[k];
            }
    }
}

// s of u (groups, positions, units); the units of all positions of a group compete. Of equal ones the first in the order (unit, position) wins.
void soft_wta(int64_t groups, int64_t positions, int64_t units, int32_t threads, float t, const float* us, float* ss) {
    const int64_t size = positions * units;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t group = 0; group < groups; ++group) {
        const float* u = us + group * size;
        float* s = ss + group * size;
        float top = -std::numeric_limits<float>::infinity();
        int32_t odd = 0;
#pragma omp simd reduction(max : top) reduction(| : odd)
        for (int64_t k = 0; k < size; ++k) {
            const float v = u[k];
            top = v > top ? v : top;
            odd |= v != v;
        }
        if (odd || !std::isfinite(top)) {
            std::fill(s, s + size, std::numeric_limits<float>::quiet_NaN());
            continue;
        }
        float sum = 0;
        int32_t equal = 0;
#pragma omp simd reduction(+ : sum) reduction(+ : equal)
        for (int64_t k = 0; k < size; ++k) {
            const float below = u[k] - top;  // without t, which could round two of them to the same number
            equal += below == 0;
            const float e = small_exp(t * below < NOTHING ? NOTHING : t * below);
            s[k] = below == 0 ? e : -e;
            sum += e;
        }
        const float share = 1 / sum;
        for (int64_t k = 0; k < size; ++k) s[k] *= share;
        if (equal < 2) continue;
        bool found = false;
        for (int64_t unit = 0; unit < units; ++unit)
            for (int64_t k = unit; k < size; k += units)
                if (s[k] > 0) {
                    if (found) s[k] = -s[k];
                    found = true;
                }
    }
}

// Move the weights (units, fan_in), in place. `by_norm` 0: the rate is `lr` for every unit. `spread`: a unit's (decay, rate), written here.
void move(int64_t units, int64_t fan_in, int32_t threads, int32_t by_norm, float lr, float power, const float* totals, float* weights,
          float* spread) {
    float largest = 0;
    int32_t odd = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(max : largest) reduction(| : odd)
    for (int64_t o = 0; o < units; ++o) {
        const float *total = totals + o * fan_in, *w = weights + o * fan_in;
        float decay = 0, square = 0, most = 0;
#pragma omp simd reduction(+ : decay) reduction(+ : square)
        for (int64_t k = 0; k < fan_in; ++k) {
            decay += total[k] * w[k];
            square += w[k] * w[k];
        }
        int32_t none = 0;
#pragma omp simd reduction(max : most) reduction(| : none)
        for (int64_t k = 0; k < fan_in; ++k) {
            const float size = std::fabs(total[k] - decay * w[k]);
            most = size > most ? size : most;
            none |= size != size;
        }
        odd |= none;
        largest = most > largest ? most : largest;
        spread[2 * o] = decay;
        spread[2 * o + 1] = by_norm ? lr * std::pow(std::fabs(std::sqrt(square) - 1), power) : lr;
    }
    if (odd) largest = std::numeric_limits<float>::quiet_NaN();
    const float divisor = largest == 0 ? 1 : largest;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = 0; o < units; ++o) {
        const float *total = totals + o * fan_in, decay = spread[2 * o], rate = spread[2 * o + 1] / divisor;
        float* w = weights + o * fan_in;
        for (int64_t k = 0; k < fan_in; ++k) w[k] += rate * (total[k] - decay * w[k]);
    }
}

// The largest relu(u - mean over the channels) in each window of images (batch, height, width, channels); windows reach over the
// edge by `padding`. The bits of numbers that are not negative sort as integers, with NaN above all, so the largest bits are taken.
void triangle_max_pool(const int64_t* sizes, int32_t threads, const float* us, int32_t* out) {
    const int64_t batch = sizes[0], height = sizes[1], width = sizes[2], channels = sizes[3], size = sizes[4], stride = sizes[5];
    const int64_t padding = sizes[6], out_height = sizes[7], out_width = sizes[8], out_line = out_width * channels;
#pragma omp parallel num_threads(threads)
    {
        std::vector<int32_t> line(width * channels), pooled(out_line);
#pragma omp for schedule(static)
        for (int64_t image = 0; image < batch; ++image) {
            int32_t* largest = out + image * out_height * out_line;
            std::fill(largest, largest + out_height * out_line, 0);
            for (int64_t y = 0; y < height; ++y) {
                for (int64_t x = 0; x < width; ++x) triangle(us + ((image * height + y) * width + x) * channels, channels, &line[x * channels]);
                std::fill(pooled.begin(), pooled.end(), 0);
                for (int64_t x = 0; x < out_width; ++x)
                    for (int64_t at = std::max<int64_t>(0, x * stride - padding); at < std::min(width, x * stride - padding + size); ++at)
                        keep_largest(&pooled[x * channels], &line[at * channels], channels);
                for (int64_t row = 0; row < out_height; ++row)
                    if (const int64_t from = row * stride - padding; from <= y && y < from + size)
                        keep_largest(largest + row * out_line, pooled.data(), out_line);
            }
        }
    }
}
}
