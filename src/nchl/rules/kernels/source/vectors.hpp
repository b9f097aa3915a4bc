// Short vectors of the width of the machine, by the vector extension that GCC and Clang share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif

template <class T> struct Integer;
template <> struct Integer<float> { using type = int32_t; };
template <> struct Integer<double> { using type = int64_t; };

template <class T> struct Lanes {
    typedef T V __attribute__((vector_size(WIDTH)));
    typedef T U __attribute__((vector_size(WIDTH), aligned(sizeof(T)), may_alias));  // in memory, not aligned
    typedef typename Integer<T>::type I __attribute__((vector_size(WIDTH)));          // of comparisons
    static constexpr int N = WIDTH / sizeof(T);
    static V load(const T* p) { return *reinterpret_cast<const U*>(p); }
    static void store(T* p, V v) { *reinterpret_cast<U*>(p) = v; }
    static V all(T x) { return V{} + x; }
    static I first(int n) {  // true in the first n lanes
        I lane;
        for (int l = 0; l < N; ++l) lane[l] = l;
        return lane < n;
    }
};

template <class V> static inline V larger(V a, V b) { return a > b ? a : b; }
template <class V> static inline V smaller(V a, V b) { return a < b ? a : b; }
#if defined(__AVX512F__)
static inline __m512 larger(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
static inline __m512 smaller(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
#elif defined(__AVX__)
static inline __m256 larger(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
static inline __m256 smaller(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
#endif

// The first n lanes, n smaller than a vector; loaded, the others are 0.
template <class T> static inline typename Lanes<T>::V load_first(const T* p, int n) {
    T lanes[Lanes<T>::N] = {};
    std::memcpy(lanes, p, n * sizeof(T));
    return Lanes<T>::load(lanes);
}
template <class T> static inline void store_first(T* p, typename Lanes<T>::V v, int n) {
    T lanes[Lanes<T>::N];
    Lanes<T>::store(lanes, v);
    std::memcpy(p, lanes, n * sizeof(T));
}
#if defined(__AVX512F__)
template <> inline Lanes<float>::V load_first<float>(const float* p, int n) { return (Lanes<float>::V)_mm512_maskz_loadu_ps((1u << n) - 1, p); }
template <> inline Lanes<double>::V load_first<double>(const double* p, int n) { return (Lanes<double>::V)_mm512_maskz_loadu_pd((1u << n) - 1, p); }
template <> inline void store_first<float>(float* p, Lanes<float>::V v, int n) { _mm512_mask_storeu_ps(p, (1u << n) - 1, (__m512)v); }
template <> inline void store_first<double>(double* p, Lanes<double>::V v, int n) { _mm512_mask_storeu_pd(p, (1u << n) - 1, (__m512d)v); }
#elif defined(__AVX__)
template <> inline Lanes<float>::V load_first<float>(const float* p, int n) { return (Lanes<float>::V)_mm256_maskload_ps(p, (__m256i)Lanes<float>::first(n)); }
template <> inline Lanes<double>::V load_first<double>(const double* p, int n) { return (Lanes<double>::V)_mm256_maskload_pd(p, (__m256i)Lanes<double>::first(n)); }
template <> inline void store_first<float>(float* p, Lanes<float>::V v, int n) { _mm256_maskstore_ps(p, (__m256i)Lanes<float>::first(n), (__m256)v); }
template <> inline void store_first<double>(double* p, Lanes<double>::V v, int n) { _mm256_maskstore_pd(p, (__m256i)Lanes<double>::first(n), (__m256d)v); }
#endif

// Lane l is number from[l] of the lanes of a, then of b.
template <class V, class I> static inline V pick(V a, V b, I from) {
#if defined(__clang__)
    constexpr int N = sizeof(V) / sizeof(a[0]);
    V result;
    for (int l = 0; l < N; ++l) result[l] = from[l] < N ? a[from[l] % N] : b[from[l] % N];
    return result;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

// Scratch memory that only grows, aligned to a vector and with two spare vectors at its end.
template <class T> class Buffer {
    std::vector<T> memory;

  public:
    void grow(size_t size) {
        const size_t wanted = size + 3 * Lanes<T>::N;
        if (memory.size() < wanted) memory.resize(wanted);
    }
    T* data() {
        const auto address = reinterpret_cast<uintptr_t>(memory.data());
        return memory.data() + (WIDTH - address % WIDTH) % WIDTH / sizeof(T);
    }
};

// Denormal numbers are flushed in every thread: a result must not depend on the thread.
struct FlushDenormals {
#if defined(__SSE2__)
    unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#else
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
};

// The k-th smallest (from 0) of n values, exactly. `keys` are the values' bits, made to sort as integers; bisection over the
// integers counts all of them each time, which has no branch on data and runs at the speed of the cache.
template <class I> static I select_key(const I* keys, int n, int k, I low, I high) {
    using Wide = typename std::make_unsigned<I>::type;
    while (low < high) {
        const I middle = low + static_cast<I>((static_cast<Wide>(high) - static_cast<Wide>(low)) / 2);
        I count = 0;
        for (int p = 0; p < n; ++p) count += keys[p] <= middle;
        if (count == k + 1) {  // the largest of those up to the middle
            I best = low;
            for (int p = 0; p < n; ++p) best = std::max(best, keys[p] <= middle ? keys[p] : low);
            return best;
        }
        if (count == k) {  // the smallest of those above the middle
            I best = high;
            for (int p = 0; p < n; ++p) best = std::min(best, keys[p] > middle ? keys[p] : high);
            return best;
        }
        if (count > k) high = middle;
        else low = middle + 1;
    }
    return low;
}

template <class T> static T median(T* values, int n) {  // the lower one; the values are overwritten
    using I = typename Integer<T>::type;
    I* keys = reinterpret_cast<I*>(values);
    I low = std::numeric_limits<I>::max(), high = std::numeric_limits<I>::min();
    const I rest = std::numeric_limits<I>::max();
    for (int p = 0; p < n; ++p) {
        I bits;
        std::memcpy(&bits, values + p, sizeof(I));
        bits ^= (bits >> (8 * sizeof(I) - 1)) & rest;
        std::memcpy(keys + p, &bits, sizeof(I));
        low = std::min(low, bits);
        high = std::max(high, bits);
    }
    I key = select_key(keys, n, (n - 1) / 2, low, high);
    key ^= (key >> (8 * sizeof(I) - 1)) & rest;
    T value;
    std::memcpy(&value, &key, sizeof(I));
    return value;
}
