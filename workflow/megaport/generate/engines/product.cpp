// w x^T for few rows of x: reads the weights once, at the memory's speed. Included by block.cpp.
//   w [outs, size], x [rows, size]; sums are float32.
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
// Outputs and rows of a tile, whose sums fit the registers; sums that one row keeps beside another;
// the most rows there may be; bytes of each row that a tile takes at once, so that it stays in L1.
constexpr int OUTS = 6, ROWS = 4, CHAINS = 4, MOST = 32, PIECE = 4096;

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
// By halves: one lane after the other takes longer than all the products that are summed here.
static inline float total(lanes sums) {
    typedef float eight __attribute__((vector_size(32)));
    typedef float four __attribute__((vector_size(16)));
    eight e[2];
    memcpy(e, &sums, 64);
    e[0] += e[1];
    four f[2];
    memcpy(f, e, 32);
    f[0] += f[1];
    return (f[0][0] + f[0][1]) + (f[0][2] + f[0][3]);
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

// One output of one row: a single stream of weights, the fastest way to read them. The hardware
// looks ahead to the end of a page only.
template <typename T>
static inline float single(const T *w, const T *x, int64_t size) {
    constexpr int STEP = 64 / sizeof(T);
    lanes sums[CHAINS] = {};
    int64_t k = 0;
    for (; k + CHAINS * STEP <= size; k += CHAINS * STEP)
        for (int c = 0; c < CHAINS; c++) {
            __builtin_prefetch((const char *)(w + k + c * STEP) + PIECE);
            multiply(sums[c], w + k + c * STEP, x + k + c * STEP);
        }
    for (; k + STEP <= size; k += STEP) multiply(sums[0], w + k, x + k);
    return total((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest(w, x, k, size);
}

// Inputs `k` up to `end` of a tile. One row of its weights in `share` is asked for in the next tile,
// from `turn` on: all turns together read it ahead while these are multiplied.
template <typename T>
static inline void tile(const T *w, const T *x, int64_t size, int64_t k, int64_t end, int turn,
                        int share, lanes (*kept)[ROWS]) {
    constexpr int STEP = 64 / sizeof(T);
    lanes sums[OUTS][ROWS];
    memcpy(sums, kept, sizeof sums);
    for (; k + STEP <= end; k += STEP) {
        for (int o = turn; o < OUTS; o += share) __builtin_prefetch(w + (OUTS + o) * size + k, 0, 2);
#pragma GCC unroll 8
        for (int o = 0; o < OUTS; o++)
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) multiply(sums[o][r], w + o * size + k, x + r * size + k);
    }
    memcpy(kept, sums, sizeof sums);
}

// Calls keep(row, output, sum) for every one. All threads of a parallel region call it together.
template <typename T, typename Keep>
static inline void product(const T *w, const T *x, int64_t rows, int64_t size, int64_t outs, Keep keep) {
    constexpr int STEP = 64 / sizeof(T), AT_ONCE = PIECE / sizeof(T);
    const int groups = rows / ROWS;
    const int64_t whole = size / STEP * STEP;
#pragma omp for schedule(static)
    for (int64_t from = 0; from < outs; from += OUTS) {
        const int64_t to = from + OUTS < outs ? from + OUTS : outs;
        const T *here = w + from * size;
        int64_t done = 0;
        if (groups && to - from == OUTS) {
            lanes kept[MOST / ROWS][OUTS][ROWS];
            memset(kept, 0, groups * sizeof kept[0]);
            for (int64_t k = 0; k < whole; k += AT_ONCE)
                for (int g = 0; g < groups; g++)
                    tile(here, x + g * ROWS * size, size, k, k + AT_ONCE < whole ? k + AT_ONCE : whole,
                         g, groups, kept[g]);
            for (; done < groups * ROWS; done++)
                for (int o = 0; o < OUTS; o++)
                    keep(done, from + o, total(kept[done / ROWS][o][done % ROWS]) +
                                             rest(here + o * size, x + done * size, whole, size));
        }
        for (; done < rows; done++)
            for (int64_t o = from; o < to; o++) keep(done, o, single(w + o * size, x + done * size, size));
    }
}
