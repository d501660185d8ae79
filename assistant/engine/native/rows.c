/* Products of a few rows in float32 with weights in bfloat16. Such a product waits for its weights, and half of
   the bytes come in half of the time; weights that were trained in bfloat16 lose nothing. */

#ifndef BFLOAT16
#include "vectors.h"

enum { MOST_ROWS = 4, OUTS = 4 };
enum { LINE = 32 }; /* weights in 64 bytes, fetched while those OUTS rows before are multiplied */

int64_t most_rows(void) { return MOST_ROWS; }

/* y [rows, outs] = x [rows, size] times the weight [outs, size], and what is added (NULL: nothing). */
struct product {
    const float *x;
    int64_t stride;
    const uint16_t *weight;
    const float *bias, *added;
    int64_t added_stride;
    float *y;
    int64_t size, outs;
};

/* `outs` neighbouring outputs of `rows` rows, both known to the compiler: their sums stay in registers. */
static inline __attribute__((always_inline)) void some(struct product p, int64_t first, int rows, int outs) {
    const uint16_t *weight = p.weight + first * p.size;
    vec sums[MOST_ROWS][OUTS];
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outs; o++) sums[r][o] = all(0);
    int64_t at = 0;
    for (; at + LINE <= p.size; at += LINE)
        for (int o = 0; o < outs; o++) {
            __builtin_prefetch(weight + (o + OUTS) * p.size + at);
            for (int within = at; within < at + LINE; within += WIDE) {
                vec w = widened(weight + o * p.size + within);
                for (int r = 0; r < rows; r++) sums[r][o] += read(p.x + r * p.stride + within) * w;
            }
        }
    for (; at + WIDE <= p.size; at += WIDE)
        for (int o = 0; o < outs; o++) {
            vec w = widened(weight + o * p.size + at);
            for (int r = 0; r < rows; r++) sums[r][o] += read(p.x + r * p.stride + at) * w;
        }
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outs; o++) {
            float sum = sum_of(sums[r][o]);
            for (int64_t rest = at; rest < p.size; rest++)
                sum += p.x[r * p.stride + rest] * widened_one(weight[o * p.size + rest]);
            if (p.bias) sum += p.bias[first + o];
            if (p.added) sum += p.added[r * p.added_stride + first + o];
            p.y[r * p.outs + first + o] = sum;
        }
}

/* `outs` neighbouring outputs of all rows. The switch stands within the threads' loop: OpenMP makes a function of
   it, in which a number given from outside would be unknown. */
static inline __attribute__((always_inline)) void block(struct product p, int64_t first, int64_t rows, int outs) {
    switch (rows) {
    case 1: some(p, first, 1, outs); break;
    case 2: some(p, first, 2, outs); break;
    case 3: some(p, first, 3, outs); break;
    case 4: some(p, first, 4, outs); break;
    }
}

/* The product of at most MOST_ROWS rows; rows of x and of what is added lie their strides apart. */
void few(const float *x, int64_t stride, const uint16_t *weight, const float *bias, const float *added,
         int64_t added_stride, float *y, int64_t rows, int64_t size, int64_t outs) {
    struct product p = {x, stride, weight, bias, added, added_stride, y, size, outs};
#pragma omp parallel for
    for (int64_t at = 0; at < outs / OUTS; at++) block(p, at * OUTS, rows, OUTS);
    for (int64_t rest = outs - outs % OUTS; rest < outs; rest++) block(p, rest, rows, 1);
}
#endif
