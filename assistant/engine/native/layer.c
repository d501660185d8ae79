/* What stands between a layer's products: norms, positions, the gate. PyTorch's operators pass over memory once
   for each step of each of them. */

#include "vectors.h"

enum { FEW_ROWS = 8 };

/* 1 / root mean square of the `size` elements at x (Zhang & Sennrich 2019). */
static float inverse(const element *x, int64_t size, float epsilon) {
    vec sums = all(0);
    int64_t at = 0;
    for (; at + WIDE <= size; at += WIDE) sums += read(x + at) * read(x + at);
    float sum = sum_of(sums);
    for (; at < size; at++) sum += value_of(x[at]) * value_of(x[at]);
    return 1 / sqrtf(sum / (float)size + epsilon);
}

/* out [rows, size]: x by its inverse root mean square and `weight` [size]. */
void norm(const element *x, int64_t stride, const element *weight, float epsilon, element *out, int64_t rows,
          int64_t size) {
#pragma omp parallel for if (rows > FEW_ROWS)
    for (int64_t row = 0; row < rows; row++) {
        const element *from = x + row * stride;
        element *to = out + row * size;
        float by = inverse(from, size, epsilon);
        int64_t at = 0;
        for (; at + WIDE <= size; at += WIDE) write(to + at, read(from + at) * all(by) * read(weight + at));
        for (; at < size; at++) to[at] = element_of(value_of(from[at]) * by * value_of(weight[at]));
    }
}

static inline vec silu(vec x) {
    ints negative = x < 0;
    vec power = power_of_two((vec)((ints)x | (ints)all(-0.0f)) * all((float)M_LOG2E)); /* e to the -|x| */
    vec above = (vec)(((ints)power & negative) | ((ints)all(1) & ~negative));
    return x * above / (1 + power);
}

/* out [rows, size]: silu(gate) * up, of `both` [rows, 2 * size], gate first. */
void gate(const element *both, element *out, int64_t rows, int64_t size) {
#pragma omp parallel for if (rows > FEW_ROWS)
    for (int64_t row = 0; row < rows; row++) {
        const element *left = both + row * 2 * size, *right = left + size;
        element *to = out + row * size;
        int64_t at = 0;
        for (; at + WIDE <= size; at += WIDE) write(to + at, silu(read(left + at)) * read(right + at));
        for (; at < size; at++) to[at] = element_of(silu(all(value_of(left[at])))[0] * value_of(right[at]));
    }
}

/* Turn a head by its position (Su et al. 2021), halves apart; `sin` is negative in its left half. Where there
   is a `weight`, the head is normed first. */
static void turn(const element *head, const element *cos, const element *sin, const element *weight,
                 float epsilon, element *to, int64_t dim) {
    vec by = all(weight ? inverse(head, dim, epsilon) : 1);
    for (int64_t at = 0; at < dim; at += WIDE) {
        int64_t across = at < dim / 2 ? at + dim / 2 : at - dim / 2;
        vec own = read(head + at) * by, other = read(head + across) * by;
        if (weight) own *= read(weight + at), other *= read(weight + across);
        write(to + at, own * read(cos + at) + other * read(sin + at));
    }
}

/* Of projected [rows, queries + 2 * keys heads, dim]: the queries, turned, to `query` [rows, queries, dim];
   the keys, turned, and the values to places `writes` [rows] of a layer's arenas [keys, places, dim]. */
void remember(const element *projected, const element *cos, const element *sin, const element *query_weight,
              const element *key_weight, float epsilon, element *query, element *key_arena,
              element *value_arena, const int64_t *writes, int64_t rows, int64_t queries, int64_t keys,
              int64_t places, int64_t dim) {
#pragma omp parallel for if (rows > FEW_ROWS)
    for (int64_t row = 0; row < rows; row++) {
        const element *head = projected + row * (queries + 2 * keys) * dim;
        const element *own_cos = cos + row * dim, *own_sin = sin + row * dim;
        for (int64_t q = 0; q < queries; q++, head += dim)
            turn(head, own_cos, own_sin, query_weight, epsilon, query + (row * queries + q) * dim, dim);
        for (int64_t k = 0; k < keys; k++, head += dim) {
            int64_t at = (k * places + writes[row]) * dim;
            turn(head, own_cos, own_sin, key_weight, epsilon, key_arena + at, dim);
            memcpy(value_arena + at, head + keys * dim, dim * sizeof(element));
        }
    }
}
