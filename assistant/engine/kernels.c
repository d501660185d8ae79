/* Attention over the arena and the products of many adapters, for CPUs.

   PyTorch's operators start anew for every group of rows, take masks, and read bfloat16 in small pieces; these
   two read what they need once. Arithmetic is in float32, or pairs of bfloat16 added up in float32 where the
   CPU has such instructions. A UNIT is what one 32-bit lane of a vector multiplies: a float, or such a pair.

   Compiled where it runs (`kernels.py`), once for each ELEMENT type: float, or BFLOAT16 as its bits. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
#define WIDE 16
#else
#define WIDE 8
#endif

typedef float vec __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef uint32_t bits __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * WIDE), aligned(2), may_alias));

#ifdef BFLOAT16
typedef uint16_t element;
#else
typedef float element;
#endif

#if defined(BFLOAT16) && defined(__AVX512BF16__)
#include <immintrin.h>
#define UNIT 2
typedef uint32_t unit;
typedef bits units;
static inline vec multiply_add(vec sum, units a, units b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
#define UNIT 1
typedef float unit;
typedef vec units;
static inline vec multiply_add(vec sum, units a, units b) { return sum + a * b; }
#endif


/* Products as they go in: pairs of bfloat16, or floats. */
#if UNIT == 2
typedef uint16_t piece;
#else
typedef float piece;
#endif

static inline units spread(const piece *from) {
    unit value;
    memcpy(&value, from, 4);
    return value - (units){};
}

static inline vec all(float value) { return value - (vec){}; }

static inline vec read(const element *from) {
#ifdef BFLOAT16
    return (vec)(__builtin_convertvector(*(const halves *)from, bits) << 16);
#else
    return *(const vec *)from;
#endif
}

/* Bits of bfloat16: to the nearest, halves to even, as PyTorch rounds. */
static inline halves rounded(vec value) {
    bits b = (bits)value;
    return __builtin_convertvector((b + 0x7fff + ((b >> 16) & 1)) >> 16, halves);
}

static inline void write(element *to, vec value) {
#ifdef BFLOAT16
    *(halves *)to = rounded(value);
#else
    *(vec *)to = value;
#endif
}

static inline void write_pieces(piece *to, vec value) {
#if UNIT == 2
    *(halves *)to = rounded(value);
#else
    *(vec *)to = value;
#endif
}

/* UNIT neighbouring elements in each lane. */
static inline units read_units(const element *from) {
#if UNIT == 2
    return *(const units *)from;
#else
    return read(from);
#endif
}

/* An element of each of UNIT rows in each lane; without a second row, zeros. */
static inline units join(const element *first, const element *second) {
#if UNIT == 2
    bits low = __builtin_convertvector(*(const halves *)first, bits);
    if (second) low |= __builtin_convertvector(*(const halves *)second, bits) << 16;
    return low;
#else
    (void)second;
    return read(first);
#endif
}

static inline float value_of(element x) {
#ifdef BFLOAT16
    uint32_t wide = (uint32_t)x << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
#else
    return x;
#endif
}

static inline element element_of(float value) {
    element result[WIDE];
    write(result, all(value));
    return result[0];
}

static inline piece piece_of(float value) {
    piece result[WIDE];
    write_pieces(result, all(value));
    return result[0];
}

static inline vec larger(vec a, vec b) {
    ints mask = a > b;
    return (vec)(((ints)a & mask) | ((ints)b & ~mask));
}

/* The other half of the lanes on top of each half: folded until all lanes are the same. */
#define SWAPPED(v, by) __builtin_shuffle(v, LANES ^ by)
#if WIDE == 16
#define LANES ((ints){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#else
#define LANES ((ints){0, 1, 2, 3, 4, 5, 6, 7})
#endif

static inline float sum_of(vec v) {
    for (int by = WIDE / 2; by; by /= 2) v += SWAPPED(v, by);
    return v[0];
}

static inline float largest_of(vec v) {
    for (int by = WIDE / 2; by; by /= 2) v = larger(v, SWAPPED(v, by));
    return v[0];
}

/* 2 to the power of x, for x at most 0: 2^whole by the exponent's bits, 2^rest by its Taylor series. */
static inline vec power_of_two(vec x) {
    const vec shift = all(12582912.0f); /* 1.5 * 2^23: a float of this size has no room for fractions */
    x = larger(x, all(-126.0f));
    vec whole = x + shift;
    vec rest = x - (whole - shift);
    vec sum = all(1.5403530e-4f);
    sum = sum * rest + all(1.3333558e-3f);
    sum = sum * rest + all(9.6181291e-3f);
    sum = sum * rest + all(5.5504109e-2f);
    sum = sum * rest + all(2.4022651e-1f);
    sum = sum * rest + all(6.9314718e-1f);
    sum = sum * rest + all(1.0f);
    return (vec)((ints)sum + (((ints)whole - (ints)shift) << 23));
}

static inline int least(int64_t a, int b) { return a < b ? (int)a : b; }

/* ---- attention ---- */

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
        r->largest[q] = -1e30f;
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

/* ---- adapters ---- */

enum { FOUR = 4, COLUMNS = 8 * WIDE };

/* Rows `row` to `row + count` with the adapter in `slot`, of `rank`. */
struct group { int64_t row, count, slot, rank; };

/* Ranks in pairs: beyond an adapter's own, its matrices are zero. */
static inline int64_t even(int64_t rank, int64_t room) { return rank < room ? rank + rank % 2 : room; }

/* What four rows of A give for four rows of x; rows beyond are the last one again. */
static void shrink(const element *x, int64_t stride, int rows, const element *a, int64_t inputs, int ranks,
                   piece *hidden, int64_t hidden_stride) {
    const element *own[FOUR], *of[FOUR];
    for (int i = 0; i < FOUR; i++) {
        own[i] = x + (i < rows ? i : rows - 1) * stride;
        of[i] = a + (i < ranks ? i : ranks - 1) * inputs;
    }
    vec sums[FOUR][FOUR] = {};
    int64_t at = 0;
    for (; at + WIDE * UNIT <= inputs; at += WIDE * UNIT) {
        units some[FOUR];
        for (int r = 0; r < FOUR; r++) some[r] = read_units(of[r] + at);
        for (int i = 0; i < FOUR; i++) {
            units mine = read_units(own[i] + at);
            for (int r = 0; r < FOUR; r++) sums[i][r] = multiply_add(sums[i][r], mine, some[r]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int r = 0; r < ranks; r++) {
            float sum = sum_of(sums[i][r]);
            for (int64_t rest = at; rest < inputs; rest++) sum += value_of(own[i][rest]) * value_of(of[r][rest]);
            hidden[i * hidden_stride + r] = piece_of(sum);
        }
}

/* Add to `y` [rows, columns] what `hidden` [rows, rank] and B [rank, columns] give. */
static void expand(element *y, int64_t stride, int rows, const element *b, int64_t out, int columns,
                   const piece *hidden, int64_t hidden_stride, int rank) {
    int at = 0;
    for (; at + 2 * WIDE <= columns; at += 2 * WIDE)
        for (int first = 0; first < rows; first += FOUR) {
            vec sums[FOUR][2];
            int have = rows - first < FOUR ? rows - first : FOUR;
            const piece *own[FOUR];
            for (int i = 0; i < FOUR; i++) {
                int row = first + (i < have ? i : have - 1);
                own[i] = hidden + row * hidden_stride;
                sums[i][0] = read(y + row * stride + at);
                sums[i][1] = read(y + row * stride + at + WIDE);
            }
            for (int r = 0; r < rank; r += UNIT) {
                const element *of = b + r * out + at;
                units left = join(of, of + out), right = join(of + WIDE, of + out + WIDE);
                for (int i = 0; i < FOUR; i++) {
                    units mine = spread(own[i] + r);
                    sums[i][0] = multiply_add(sums[i][0], mine, left);
                    sums[i][1] = multiply_add(sums[i][1], mine, right);
                }
            }
            for (int i = 0; i < have; i++) {
                write(y + (first + i) * stride + at, sums[i][0]);
                write(y + (first + i) * stride + at + WIDE, sums[i][1]);
            }
        }
    for (; at < columns; at++)
        for (int i = 0; i < rows; i++) {
            float sum = value_of(y[i * stride + at]);
            for (int r = 0; r < rank; r++) {
#if UNIT == 2
                sum += value_of(hidden[i * hidden_stride + r]) * value_of(b[r * out + at]);
#else
                sum += hidden[i * hidden_stride + r] * value_of(b[r * out + at]);
#endif
            }
            y[i * stride + at] = element_of(sum);
        }
}

/* x [rows, inputs] and y [rows, out] with a stride between rows; a [slots, parts, room, inputs] and
   b [slots, parts, room, out], of which part p has columns ends[p] to ends[p + 1]; room is even. Returns 1
   when there is no memory. */
int add_adapters(const element *x, int64_t x_stride, int64_t inputs, element *y, int64_t y_stride, int64_t out,
                 const element *a, const element *b, int64_t parts, int64_t room, const int64_t *ends,
                 const struct group *groups, int64_t count) {
    int64_t rows = 0, stride = parts * room, fours = (room + FOUR - 1) / FOUR, blocks = out / COLUMNS + parts;
    for (int64_t i = 0; i < count; i++)
        if (groups[i].row + groups[i].count > rows) rows = groups[i].row + groups[i].count;
    piece *hidden = malloc(rows * stride * sizeof(piece));
    if (rows * stride && !hidden) return 1;
#pragma omp parallel
    {
#pragma omp for schedule(dynamic, 2)
        for (int64_t item = 0; item < count * parts * fours; item++) {
            struct group g = groups[item / fours / parts];
            int64_t part = item / fours % parts, first = item % fours * FOUR, ranks = even(g.rank, room) - first;
            const element *of = a + ((g.slot * parts + part) * room + first) * inputs;
            for (int64_t i = 0; ranks > 0 && i < g.count; i += FOUR)
                shrink(x + (g.row + i) * x_stride, x_stride, least(g.count - i, FOUR), of, inputs,
                       least(ranks, FOUR), hidden + (g.row + i) * stride + part * room + first, stride);
        }
#pragma omp for schedule(dynamic, 2)
        for (int64_t item = 0; item < count * blocks; item++) {
            struct group g = groups[item / blocks];
            int64_t part = 0, start = item % blocks * COLUMNS;
            while (part < parts && start >= ends[part + 1] - ends[part]) {
                start -= (ends[part + 1] - ends[part] + COLUMNS - 1) / COLUMNS * COLUMNS;
                part++;
            }
            if (part == parts) continue;
            int columns = least(ends[part + 1] - ends[part] - start, COLUMNS);
            start += ends[part];
            expand(y + g.row * y_stride + start, y_stride, (int)g.count,
                   b + (g.slot * parts + part) * room * out + start, out, columns,
                   hidden + g.row * stride + part * room, stride, (int)even(g.rank, room));
        }
    }
    free(hidden);
    return 0;
}
