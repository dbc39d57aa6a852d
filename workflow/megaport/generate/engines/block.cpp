// One token a row through a GPT-2 block, and a linear layer of few rows, in float32 or bfloat16.
// Sums, softmax and the residual stream are float32.
#include "product.cpp"

#include <cmath>

static inline float exponential(float x) {  // within 2e-7 of itself; without branches, for lanes
    x = x < -87 ? -87 : x > 88 ? 88 : x;
    const float n = (x * 1.44269504f + 12582912.f) - 12582912.f;  // rounded: the unit is 1 there
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * r + 1.3981999507e-3f;
    sum = sum * r + 8.3334519073e-3f;
    sum = sum * r + 4.1665795894e-2f;
    sum = sum * r + 1.6666665459e-1f;
    sum = sum * r + 5.0000001201e-1f;
    const int32_t power = (int32_t(n) + 127) << 23;
    float two;
    memcpy(&two, &power, 4);
    return (sum * r * r + r + 1) * two;
}

static inline float gelu_tanh(float x) {
    return x / (1 + exponential(-1.5957691216f * (x + 0.044715f * x * x * x)));
}

static inline float gelu_erf(float x) { return x * 0.5f * (1 + erff(x * 0.70710678f)); }

template <typename T>
static inline void normed(const float *x, const T *scale, const T *shift, float epsilon, int64_t size, T *out) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) sum += x[i];
    const float mean = sum / size;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < size; i++) squares += (x[i] - mean) * (x[i] - mean);
    const float factor = 1 / sqrtf(squares / size + epsilon);
    for (int64_t i = 0; i < size; i++)
        put(out[i], (x[i] - mean) * factor * number(scale[i]) + number(shift[i]));
}

// One query of one head over `span` keys and values [span, size]: softmax(q k) v.
template <typename T>
static inline void attend(const float *q, const T *keys, const T *values, const T *mask, int64_t span,
                          int64_t size, float *scores, T *out) {
    const float factor = 1 / sqrtf(size);
    float best = -INFINITY, sum = 0, mixed[MOST * 16] = {};
    for (int64_t s = 0; s < span; s++) {
        float score = 0;
#pragma omp simd reduction(+ : score)
        for (int64_t i = 0; i < size; i++) score += q[i] * number(keys[s * size + i]);
        scores[s] = score * factor + (mask ? number(mask[s]) : 0);
        best = scores[s] > best ? scores[s] : best;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t s = 0; s < span; s++) sum += scores[s] = exponential(scores[s] - best);
    for (int64_t s = 0; s < span; s++)
#pragma omp simd
        for (int64_t i = 0; i < size; i++) mixed[i] += scores[s] * number(values[s * size + i]);
    for (int64_t i = 0; i < size; i++) put(out[i], mixed[i] / sum);
}

struct Sizes {  // as block.py has it
    int64_t rows, hidden, heads, inner, slots, slot, span, mask_stride, tanh, threads;
    float epsilon;
};

template <typename T>
static void block(const T *const *t, const Sizes *given, float *x, T *cache, const T *mask, float *scratch) {
    const Sizes n = *given;
    const int64_t size = n.hidden / n.heads, wide = n.rows * n.hidden;
    T *const normal = (T *)scratch, *const mixed = (T *)(scratch + wide);
    float *const query = scratch + 2 * wide, *const up = scratch + 3 * wide;
    T *const inner = (T *)(up + n.rows * n.inner);
    float *const scores = up + 2 * n.rows * n.inner;
    auto stored = [&](int64_t row, int64_t value, int64_t head) {
        return cache + ((row * 2 + value) * n.heads + head) * n.slots * size;
    };
#pragma omp parallel num_threads(n.threads)
    {
#pragma omp for
        for (int64_t r = 0; r < n.rows; r++)
            normed(x + r * n.hidden, t[0], t[1], n.epsilon, n.hidden, normal + r * n.hidden);
        product(t[2], normal, n.rows, n.hidden, 3 * n.hidden, [&](int64_t r, int64_t o, float sum) {
            const int64_t part = o / n.hidden, at = o % n.hidden;
            sum += number(t[3][o]);
            if (part)
                put(stored(r, part - 1, at / size)[n.slot * size + at % size], sum);
            else
                query[r * n.hidden + at] = sum;
        });
#pragma omp for
        for (int64_t i = 0; i < n.rows * n.heads; i++) {
            const int64_t row = i / n.heads, head = i % n.heads;
            attend(query + i * size, stored(row, 0, head), stored(row, 1, head),
                   mask ? mask + row * n.mask_stride : mask, n.span, size, scores + i * n.span, mixed + i * size);
        }
        auto add = [&](const T *bias) {
            return [=](int64_t r, int64_t o, float sum) { x[r * n.hidden + o] += sum + number(bias[o]); };
        };
        product(t[4], mixed, n.rows, n.hidden, n.hidden, add(t[5]));
#pragma omp for
        for (int64_t r = 0; r < n.rows; r++)
            normed(x + r * n.hidden, t[6], t[7], n.epsilon, n.hidden, normal + r * n.hidden);
        product(t[8], normal, n.rows, n.hidden, n.inner, [&](int64_t r, int64_t o, float sum) {
            up[r * n.inner + o] = sum + number(t[9][o]);
        });
        if (n.tanh) {
#pragma omp for simd schedule(simd : static)
            for (int64_t i = 0; i < n.rows * n.inner; i++) put(inner[i], gelu_tanh(up[i]));
        } else {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n.rows * n.inner; i++) put(inner[i], gelu_erf(up[i]));
        }
        product(t[10], inner, n.rows, n.inner, n.hidden, add(t[11]));
    }
}

// y [rows, outs] = x w^T + bias + residual
template <typename T>
static void linear(const T *w, const T *x, const T *bias, const T *residual, T *y, int64_t rows, int64_t size,
                   int64_t outs, int threads) {
#pragma omp parallel num_threads(threads)
    product(w, x, rows, size, outs, [&](int64_t r, int64_t o, float sum) {
        const int64_t at = r * outs + o;
        put(y[at], sum + (bias ? number(bias[o]) : 0) + (residual ? number(residual[at]) : 0));
    });
}

#define EXPORT(T, NAME)                                                                                         \
    extern "C" void product_##NAME(const T *w, const T *x, const T *bias, const T *residual, T *y,              \
                                   int64_t rows, int64_t size, int64_t outs, int threads) {                     \
        linear(w, x, bias, residual, y, rows, size, outs, threads);                                             \
    }                                                                                                           \
    extern "C" void block_##NAME(const T *const *tensors, const Sizes *sizes, float *x, T *cache, const T *mask, \
                                 float *scratch) {                                                              \
        block(tensors, sizes, x, cache, mask, scratch);                                                         \
    }
EXPORT(float, float32)
EXPORT(bfloat16, bfloat16)
