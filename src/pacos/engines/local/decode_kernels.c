/* What a step of decoding does between its matrix products, on a CPU. torch needs a dozen operations a layer for it,
   each of 2 to 20 us before it begins, and has no attention for one query a row.

   Compiled for one model on the machine that runs it: HEAD_DIM, HEADS and KEY_HEADS are its numbers, FP32 its type if
   that is not bf16. A row is summed in an order that depends on nothing but the row, so a reply is the same whoever
   shares its batch. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16 /* of an AVX-512 register; compilers make several narrower ones of it elsewhere */
#define GROUP (HEADS / KEY_HEADS)
#define VECTORS (HEAD_DIM / LANES)
/* Scores of so many tokens are held at a time; the running maximum is carried over. */
#define BLOCK 256

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#ifdef FP32
typedef float number;

static inline floats load(const number *at) { return *(const floats *)at; }

static inline void store(number *at, floats value) { *(floats *)at = value; }
#else
typedef uint16_t number; /* bf16: the upper half of an fp32 */
typedef number numbers __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

static inline floats load(const number *at) {
    return (floats)(__builtin_convertvector(*(const numbers *)at, words) << 16);
}

/* Rounded to the nearest, to the even one of two. */
static inline void store(number *at, floats value) {
    words bits = (words)value;
    bits += 0x7fff + ((bits >> 16) & 1);
    *(numbers *)at = __builtin_convertvector(bits >> 16, numbers);
}
#endif

/* Halves are added until one number is left, in registers. */
static inline float sum(floats value) {
    typedef float eight __attribute__((vector_size(32)));
    typedef float four __attribute__((vector_size(16)));
    union { floats all; eight parts[2]; } sixteen = {value};
    union { eight all; four parts[2]; } eighth = {sixteen.parts[0] + sixteen.parts[1]};
    four left = eighth.parts[0] + eighth.parts[1];
    return (left[0] + left[2]) + (left[1] + left[3]);
}

static inline floats both(ints chosen, floats yes, floats no) {
    return (floats)(((ints)yes & chosen) | ((ints)no & ~chosen));
}

static const float inverse_factorial[] = {1, 1, 1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120};

/* e to the x: 2 to the n, times e to what is left, at most ln 2 / 2 either way, by its series to the 7th power, whose next
   term is under 6e-9. ln 2 is taken away in two parts, the first of few bits, so that nothing is lost. */
static inline floats exponential(floats x) {
    x = both(x > 88.0f, (floats){} + 88.0f, x);
    x = both(x < -87.0f, (floats){} - 87.0f, x);
    floats rounded = x * 1.44269504f + 12582912.0f;
    ints n = (ints)rounded - 0x4B400000;
    floats whole = rounded - 12582912.0f;
    floats r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    floats p = r * (1.0f / 5040) + 1.0f / 720;
    for (int power = 5; power >= 0; power--) p = p * r + inverse_factorial[power];
    return p * (floats)((n + 127) << 23);
}

/* A head [HEAD_DIM], normed if there is a weight, and turned by its position. */
static void turned(const number *head, const float *cosines, const float *sines, const float *weight, float eps,
                   float *result) {
    floats x[VECTORS];
    for (int v = 0; v < VECTORS; v++) x[v] = load(head + v * LANES);
    if (weight) {
        floats squares = {};
        for (int v = 0; v < VECTORS; v++) squares += x[v] * x[v];
        float scale = 1.0f / sqrtf(sum(squares) / HEAD_DIM + eps);
        for (int v = 0; v < VECTORS; v++) {
            number kept[LANES];
            store(kept, x[v] * scale * *(const floats *)(weight + v * LANES));
            x[v] = load(kept);
        }
    }
    for (int v = 0; v < VECTORS; v++) {
        floats other = x[(v + VECTORS / 2) % VECTORS];
        if (v < VECTORS / 2) other = -other;
        *(floats *)(result + v * LANES) =
            x[v] * *(const floats *)(cosines + v * LANES) + other * *(const floats *)(sines + v * LANES);
    }
}

static void attend(const number *qkv, number *keys, number *values, const float *cosines, const float *sines,
                   const float *weight, float eps, float scale, int64_t first, int64_t position, int head,
                   number *out) {
    float queries[GROUP][HEAD_DIM], turned_key[HEAD_DIM];
    const number *new_key = qkv + (HEADS + head) * HEAD_DIM;
    turned(new_key, cosines, sines, weight ? weight + (HEADS + head) * HEAD_DIM : 0, eps, turned_key);
    for (int v = 0; v < VECTORS; v++)
        store(keys + position * HEAD_DIM + v * LANES, *(floats *)(turned_key + v * LANES));
    memcpy(values + position * HEAD_DIM, qkv + (HEADS + KEY_HEADS + head) * HEAD_DIM, HEAD_DIM * sizeof *values);
    for (int g = 0; g < GROUP; g++) {
        int query = head * GROUP + g;
        turned(qkv + query * HEAD_DIM, cosines, sines, weight ? weight + query * HEAD_DIM : 0, eps, queries[g]);
        for (int d = 0; d < HEAD_DIM; d++) queries[g][d] *= scale;
    }
    floats mixed[GROUP][VECTORS];
    float highest[GROUP], total[GROUP];
    memset(mixed, 0, sizeof mixed);
    for (int g = 0; g < GROUP; g++) highest[g] = -INFINITY, total[g] = 0;
    for (int64_t start = first; start <= position; start += BLOCK) {
        int count = position + 1 - start < BLOCK ? (int)(position + 1 - start) : BLOCK;
        float scores[GROUP][BLOCK];
        for (int t = 0; t < count; t++) {
            const number *key = keys + (start + t) * HEAD_DIM;
            floats k[VECTORS];
            for (int v = 0; v < VECTORS; v++) k[v] = load(key + v * LANES);
            for (int g = 0; g < GROUP; g++) {
                floats products = {};
                for (int v = 0; v < VECTORS; v++) products += k[v] * *(floats *)(queries[g] + v * LANES);
                scores[g][t] = sum(products);
            }
        }
        for (int g = 0; g < GROUP; g++) {
            float before = highest[g];
            for (int t = 0; t < count; t++) highest[g] = scores[g][t] > highest[g] ? scores[g][t] : highest[g];
            for (int t = count; t % LANES; t++) scores[g][t] = -INFINITY;
            floats sums = {};
            for (int t = 0; t < count; t += LANES) {
                floats *at = (floats *)(scores[g] + t);
                *at = exponential(*at - highest[g]);
                if (t + LANES > count)
                    for (int lane = count - t; lane < LANES; lane++) (*at)[lane] = 0;
                sums += *at;
            }
            float shrunk = expf(before - highest[g]);
            total[g] = total[g] * shrunk + sum(sums);
            for (int v = 0; v < VECTORS; v++) mixed[g][v] *= shrunk;
        }
        for (int t = 0; t < count; t++) {
            const number *value = values + (start + t) * HEAD_DIM;
            for (int v = 0; v < VECTORS; v++) {
                floats held = load(value + v * LANES);
                for (int g = 0; g < GROUP; g++) mixed[g][v] += scores[g][t] * held;
            }
        }
    }
    for (int g = 0; g < GROUP; g++)
        for (int v = 0; v < VECTORS; v++)
            store(out + (head * GROUP + g) * HEAD_DIM + v * LANES, mixed[g][v] * (1.0f / total[g]));
}

/* qkv [rows, HEADS + 2 KEY_HEADS, HEAD_DIM]; plane [rows, 2 KEY_HEADS, tokens, HEAD_DIM] gets each row's new key and
   value; cosines, sines [rows, HEAD_DIM]; out [rows, HEADS, HEAD_DIM]. window is how far a row looks back, 0 for all. */
void attend_rows(const number *qkv, number *plane, const float *cosines, const float *sines,
                 const int64_t *positions, number *out, const float *weight, int64_t rows, int64_t tokens,
                 int64_t window, float scale, float eps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t task = 0; task < rows * KEY_HEADS; task++) {
        int64_t row = task / KEY_HEADS, position = positions[row];
        int head = (int)(task % KEY_HEADS);
        number *keys = plane + (row * 2 * KEY_HEADS + head) * tokens * HEAD_DIM;
        attend(qkv + row * (HEADS + 2 * KEY_HEADS) * HEAD_DIM, keys, keys + KEY_HEADS * tokens * HEAD_DIM,
               cosines + row * HEAD_DIM, sines + row * HEAD_DIM, weight, eps, scale,
               window && position >= window ? position - window + 1 : 0, position, head, out + row * HEADS * HEAD_DIM);
    }
}

/* x, out [rows, width]. */
void norm_rows(const number *x, const float *weight, number *out, int64_t rows, int64_t width, float eps) {
    for (int64_t row = 0; row < rows; row++) {
        const number *from = x + row * width;
        floats squares = {};
        for (int64_t at = 0; at < width; at += LANES) {
            floats value = load(from + at);
            squares += value * value;
        }
        float scale = 1.0f / sqrtf(sum(squares) / (float)width + eps);
        for (int64_t at = 0; at < width; at += LANES)
            store(out + row * width + at, load(from + at) * scale * *(const floats *)(weight + at));
    }
}

/* gate_up [rows, 2 width] -> out [rows, width]: activation(gate) * up, where gelu's is the one by tanh, which is
   x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)). */
void gate_rows(const number *gate_up, number *out, int64_t rows, int64_t width, int is_gelu, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const number *gates = gate_up + row * 2 * width, *ups = gates + width;
        for (int64_t at = 0; at < width; at += LANES) {
            floats x = load(gates + at), inner = x;
            if (is_gelu) inner = 1.59576912f * (x + 0.044715f * x * x * x);
            store(out + row * width + at, x / (1.0f + exponential(-inner)) * load(ups + at));
        }
    }
}
