/* Attention over the arena. PyTorch's takes a mask, starts anew for every group of rows, and reads bfloat16 in
   small pieces; this reads each request's own keys and values once. */

#include "vectors.h"

enum { KEYS = 2 * WIDE, ROWS = 6, QUERIES = 66, DIM = 256, FEW = 8 };

/* Rows `row` to `row + count`: the last tokens of the `length` at `offset`; each sees those up to itself. */
struct span { int64_t row, count, offset, length; };

/* What one span's queries of one key head know while they read its tokens, KEYS at a time. */
struct reading {
    piece query[QUERIES][DIM];
    piece weights[QUERIES][KEYS];
    float scores[QUERIES][KEYS];
    float result[QUERIES][DIM];
    float largest[QUERIES];
    vec total[QUERIES];
    unit turned[DIM / UNIT][KEYS];
    unit joined[KEYS / UNIT][DIM];
};

/* Scores of a few queries: each key is read once, along its elements. */
static void score_few(struct reading *r, const element *keys, int count, int queries, int dim) {
    for (int key = 0; key < count; key++)
        for (int q = 0; q < queries; q++) {
            vec sum = {};
            for (int d = 0; d < dim; d += WIDE * UNIT) {
                units own = *(const units *)&r->query[q][d];
                sum = multiply_add(sum, own, read_units(keys + (int64_t)key * dim + d));
            }
            r->scores[q][key] = sum_of(sum);
        }
}

/* Scores of many queries: keys are turned first, so that a vector holds an element of many keys. */
static void score_many(struct reading *r, const element *keys, int count, int queries, int dim) {
    for (int key = 0; key < KEYS; key++) {
        unit line[DIM / UNIT] = {};
        if (key < count)
            for (int d = 0; d < dim; d += WIDE * UNIT)
                *(units *)&line[d / UNIT] = read_units(keys + (int64_t)key * dim + d);
        for (int d = 0; d < dim / UNIT; d++) r->turned[d][key] = line[d];
    }
    for (int first = 0; first < queries; first += ROWS) {
        vec sums[ROWS][2] = {};
        for (int d = 0; d < dim / UNIT; d++) {
            units left = *(units *)&r->turned[d][0], right = *(units *)&r->turned[d][WIDE];
            for (int q = 0; q < ROWS; q++) {
                units own = spread(&r->query[first + q][d * UNIT]);
                sums[q][0] = multiply_add(sums[q][0], own, left);
                sums[q][1] = multiply_add(sums[q][1], own, right);
            }
        }
        for (int q = 0; q < ROWS; q++) {
            *(vec *)&r->scores[first + q][0] = sums[q][0];
            *(vec *)&r->scores[first + q][WIDE] = sums[q][1];
        }
    }
}

/* Weights of one query for the first `sees` of these keys (Milakov & Gimelshein 2018: softmax online). */
static void weigh(struct reading *r, int q, int sees, int dim, float scale) {
    vec scores[2];
    ints seen[2];
    for (int half = 0; half < 2; half++) {
        seen[half] = LANES + half * WIDE < sees;
        vec scaled = *(vec *)&r->scores[q][half * WIDE] * all(scale);
        scores[half] = (vec)(((ints)scaled & seen[half]) | ((ints)all(-INFINITY) & ~seen[half]));
    }
    float before = r->largest[q], now = largest_of(larger(scores[0], scores[1]));
    if (now > before) {
        float kept = power_of_two(all(before - now))[0];
        for (int d = 0; d < dim; d += WIDE) *(vec *)&r->result[q][d] *= all(kept);
        r->total[q] *= all(kept);
        r->largest[q] = now;
    }
    for (int half = 0; half < 2; half++) {
        vec weights = power_of_two(scores[half] - all(r->largest[q]));
        weights = (vec)((ints)weights & seen[half]);
        r->total[q] += weights;
        write_pieces(&r->weights[q][half * WIDE], weights);
    }
}

/* Add these keys' values by their weights. */
static void add_values(struct reading *r, const element *values, int count, int queries, int dim) {
    for (int key = 0; key < count; key += UNIT)
        for (int d = 0; d < dim; d += WIDE) {
            const element *first = values + (int64_t)key * dim + d;
            *(units *)&r->joined[key / UNIT][d] = join(first, key + 1 < count ? first + dim : 0);
        }
    for (int first = 0; first < queries; first += ROWS)
        for (int d = 0; d < dim; d += 2 * WIDE) {
            vec sums[ROWS][2];
            for (int q = 0; q < ROWS; q++) {
                sums[q][0] = *(vec *)&r->result[first + q][d];
                sums[q][1] = *(vec *)&r->result[first + q][d + WIDE];
            }
            for (int key = 0; key < count; key += UNIT) {
                units left = *(units *)&r->joined[key / UNIT][d];
                units right = *(units *)&r->joined[key / UNIT][d + WIDE];
                for (int q = 0; q < ROWS; q++) {
                    units own = spread(&r->weights[first + q][key]);
                    sums[q][0] = multiply_add(sums[q][0], own, left);
                    sums[q][1] = multiply_add(sums[q][1], own, right);
                }
            }
            for (int q = 0; q < ROWS; q++) {
                *(vec *)&r->result[first + q][d] = sums[q][0];
                *(vec *)&r->result[first + q][d + WIDE] = sums[q][1];
            }
        }
}

/* One span's queries `head` to `head + heads`, which share a key head. */
static void attend_one(const element *query, int64_t stride, element *out, int64_t out_stride,
                       const element *keys, const element *values, struct span span, int heads, int dim,
                       float scale) {
    struct reading reading, *r = &reading;
    int queries = (int)span.count * heads, padded = (queries + ROWS - 1) / ROWS * ROWS;
    for (int q = 0; q < padded; q++) {
        int row = q < queries ? q / heads : 0, head = q < queries ? q % heads : 0;
        for (int d = 0; d < dim; d += WIDE * UNIT)
            *(units *)&r->query[q][d] = read_units(query + (span.row + row) * stride + head * dim + d);
        memset(r->result[q], 0, dim * sizeof(float));
        memset(r->weights[q], 0, sizeof r->weights[q]);
        r->largest[q] = -INFINITY;
        r->total[q] = all(0);
    }
    for (int64_t start = 0; start < span.length; start += KEYS) {
        int count = least(span.length - start, KEYS);
        int64_t at = (span.offset + start) * dim;
        (queries > FEW ? score_many : score_few)(r, keys + at, count, queries, dim);
        for (int q = 0; q < queries; q++) {
            int64_t sees = span.length - span.count + q / heads + 1 - start;
            weigh(r, q, least(sees, count), dim, scale * (float)M_LOG2E);
        }
        add_values(r, values + at, count, queries, dim);
    }
    for (int q = 0; q < queries; q++) {
        vec share = all(1 / sum_of(r->total[q]));
        element *to = out + (span.row + q / heads) * out_stride + q % heads * dim;
        for (int d = 0; d < dim; d += WIDE) write(to + d, *(vec *)&r->result[q][d] * share);
    }
}

/* query [rows, key_heads * groups, dim], `stride` between rows; keys and values [key_heads, places, dim];
   out [rows, key_heads * groups * dim]. dim is a multiple of `multiple()`, at most DIM; a span has at most
   `most_queries() / groups` rows. */
void attend(const element *query, int64_t stride, element *out, const element *keys, const element *values,
            int64_t places, int64_t key_heads, int64_t groups, int64_t dim, const struct span *spans,
            int64_t count, float scale) {
    int64_t parts = count * key_heads < 8 ? groups : 1, heads = groups / parts;
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = count * key_heads * parts - 1; item >= 0; item--) {
        int64_t part = item % parts, key_head = item / parts % key_heads;
        int64_t first = (key_head * groups + part * heads) * dim, own = key_head * places * dim;
        attend_one(query + first, stride, out + first, key_heads * groups * dim, keys + own, values + own,
                   spans[item / parts / key_heads], (int)heads, (int)dim, scale);
    }
}

int64_t multiple(void) { return 2 * WIDE; }
int64_t most_queries(void) { return QUERIES; }
int64_t most_dim(void) { return DIM; }

