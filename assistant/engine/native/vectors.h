/* Vectors of what the kernels compute with, for any CPU that GCC knows.

   Arithmetic is in float32, or pairs of bfloat16 added up in float32 where the CPU has such instructions. A UNIT
   is what one 32-bit lane of a vector multiplies: a float, or such a pair. Everything is compiled once for each
   type of ELEMENT: float, or with BFLOAT16 its bits. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define WIDE 16
#else
#define WIDE 8
#endif

typedef float vec __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef uint32_t bits __attribute__((vector_size(4 * WIDE), aligned(2), may_alias));
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

/* bfloat16 as float32. */
static inline vec widened(const uint16_t *from) {
    return (vec)(__builtin_convertvector(*(const halves *)from, bits) << 16);
}

static inline float widened_one(uint16_t x) {
    uint32_t wide = (uint32_t)x << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

static inline vec read(const element *from) {
#ifdef BFLOAT16
    return widened(from);
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
    return widened_one(x);
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
    x = larger(all(-126.0f), x); /* in this order what is no number stays so */
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
