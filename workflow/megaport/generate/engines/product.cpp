// y = x w^T + bias + residual for few rows of x: reads the weights once, at the memory's speed.
//   w [outs, size], x [rows, size], bias [outs], residual and y [rows, outs]; sums are float32.
#include <cstdint>
#include <cstring>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef float lanes __attribute__((vector_size(64), aligned(2)));
typedef uint32_t words __attribute__((vector_size(64), aligned(2)));
struct bfloat16 {
    uint16_t bits;
};
// Outputs and rows of a tile, whose sums fit the registers; sums that one row keeps beside another.
constexpr int OUTS = 6, ROWS = 4, CHAINS = 4;

static inline float number(float value) { return value; }
static inline float number(bfloat16 value) {
    uint32_t word = uint32_t(value.bits) << 16;
    float wide;
    memcpy(&wide, &word, 4);
    return wide;
}
static inline void put(float &place, float value) { place = value; }
static inline void put(bfloat16 &place, float value) {  // to nearest, ties to even
    uint32_t word;
    memcpy(&word, &value, 4);
    place.bits = value != value ? 0x7fc0 : (word + 0x7fff + ((word >> 16) & 1)) >> 16;
}
static inline float total(lanes sums) {
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += sums[i];
    return sum;
}

// 64 bytes of each are multiplied into 16 sums.
static inline void multiply(lanes &sums, const float *a, const float *b) {
    sums += *(const lanes *)a * *(const lanes *)b;
}
static inline void multiply(lanes &sums, const bfloat16 *a, const bfloat16 *b) {
    words left = *(const words *)a, right = *(const words *)b;
#ifdef __AVX512BF16__
    sums = (lanes)_mm512_dpbf16_ps((__m512)sums, (__m512bh)left, (__m512bh)right);
#else  // a bfloat16 is the upper half of its float: even ones are shifted up, odd ones masked
    sums += (lanes)(left << 16) * (lanes)(right << 16);
    sums += (lanes)(left & 0xffff0000u) * (lanes)(right & 0xffff0000u);
#endif
}

template <typename T>
static inline float rest(const T *w, const T *x, int64_t k, int64_t size) {
    float sum = 0;
    for (; k < size; k++) sum += number(w[k]) * number(x[k]);
    return sum;
}

// One output of one row: a single stream of weights, the fastest way to read them.
template <typename T>
static inline float single(const T *w, const T *x, int64_t size) {
    constexpr int STEP = 64 / sizeof(T);
    lanes sums[CHAINS] = {};
    int64_t k = 0;
    for (; k + CHAINS * STEP <= size; k += CHAINS * STEP)
        for (int c = 0; c < CHAINS; c++) multiply(sums[c], w + k + c * STEP, x + k + c * STEP);
    for (; k + STEP <= size; k += STEP) multiply(sums[0], w + k, x + k);
    return total((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest(w, x, k, size);
}

template <typename T>
static inline void tile(const T *w, const T *x, int64_t size, float (*found)[ROWS]) {
    constexpr int STEP = 64 / sizeof(T);
    lanes sums[OUTS][ROWS] = {};
    int64_t k = 0;
    for (; k + STEP <= size; k += STEP)
#pragma GCC unroll 8
        for (int o = 0; o < OUTS; o++)
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) multiply(sums[o][r], w + o * size + k, x + r * size + k);
    for (int o = 0; o < OUTS; o++)
        for (int r = 0; r < ROWS; r++)
            found[o][r] = total(sums[o][r]) + rest(w + o * size, x + r * size, k, size);
}

template <typename T>
static void product(const T *w, const T *x, const T *bias, const T *residual, T *y, int64_t rows,
                    int64_t size, int64_t outs, int threads) {
    auto keep = [&](int64_t r, int64_t o, float sum) {
        int64_t at = r * outs + o;
        put(y[at], sum + (bias ? number(bias[o]) : 0) + (residual ? number(residual[at]) : 0));
    };
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t from = 0; from < outs; from += OUTS) {
        int64_t r = 0, to = from + OUTS < outs ? from + OUTS : outs;
        for (; to - from == OUTS && r + ROWS <= rows; r += ROWS) {
            float found[OUTS][ROWS];
            tile(w + from * size, x + r * size, size, found);
            for (int o = 0; o < OUTS; o++)
                for (int i = 0; i < ROWS; i++) keep(r + i, from + o, found[o][i]);
        }
        for (; r < rows; r++)
            for (int64_t o = from; o < to; o++) keep(r, o, single(w + o * size, x + r * size, size));
    }
}

extern "C" {
void product_float32(const float *w, const float *x, const float *bias, const float *residual,
                     float *y, int64_t rows, int64_t size, int64_t outs, int threads) {
    product(w, x, bias, residual, y, rows, size, outs, threads);
}
void product_bfloat16(const bfloat16 *w, const bfloat16 *x, const bfloat16 *bias,
                      const bfloat16 *residual, bfloat16 *y, int64_t rows, int64_t size,
                      int64_t outs, int threads) {
    product(w, x, bias, residual, y, rows, size, outs, threads);
}
}
