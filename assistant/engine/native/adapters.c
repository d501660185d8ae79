/* The products of many adapters in one call: groups of rows, each with its own A and B (Punica: Chen et al. 2023).
   Two passes over the groups, shared out among the threads: x times A, then times B into y. */

#include <stdlib.h>

#include "vectors.h"

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
    if (rows > 0 && !hidden) return 1;
#pragma omp parallel
    {
#pragma omp for schedule(guided)
        for (int64_t item = 0; item < count * parts * fours; item++) {
            struct group g = groups[item / fours / parts];
            int64_t part = item / fours % parts, first = item % fours * FOUR, ranks = even(g.rank, room) - first;
            const element *of = a + ((g.slot * parts + part) * room + first) * inputs;
            for (int64_t i = 0; ranks > 0 && i < g.count; i += FOUR)
                shrink(x + (g.row + i) * x_stride, x_stride, least(g.count - i, FOUR), of, inputs,
                       least(ranks, FOUR), hidden + (g.row + i) * stride + part * room + first, stride);
        }
#pragma omp for schedule(guided)
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
