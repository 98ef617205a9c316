// SIMD vectors of this processor's register width, and operations on them.

#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

// W: elements of a vector. ROWS x COLUMNS: the tile of a product that is accumulated in registers
// (COLUMNS is two vectors).
#if defined(__AVX512F__)
constexpr int W = 16, ROWS = 8;
#elif defined(__AVX__)
constexpr int W = 8, ROWS = 6;
#else
constexpr int W = 4, ROWS = 8;
#endif
constexpr int COLUMNS = 2 * W;

// Not inlined, which keeps compilation fast.
#define SEPARATE __attribute__((noinline))

typedef float vec __attribute__((vector_size(4 * W)));
typedef int32_t ints __attribute__((vector_size(4 * W)));
typedef float unaligned_vec __attribute__((vector_size(4 * W), aligned(4), may_alias));

static inline vec load(const float* from) { return *(const unaligned_vec*)from; }
static inline void store(float* to, vec x) { *(unaligned_vec*)to = x; }
static inline vec all(float x) { return vec{} + x; }
static inline vec larger(vec a, vec b) { return a > b ? a : b; }

template <size_t... I>
static inline ints count(std::index_sequence<I...>) { return ints{(int)I...}; }
// 0, 1, 2 ...
static inline ints lanes() { return count(std::make_index_sequence<W>{}); }

// exp(x), to 2 units in the last place; 1e-38 for everything smaller. The polynomial is that of
// Moshier's Cephes library (expf).
static inline vec exponential(vec x) {
  const vec least = all(-87.33654f);
  x = least > x ? least : x;  // the order of operands keeps NaN
  const float shift = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
  vec shifted = x * 1.44269504f + shift;
  vec n = shifted - shift;
  vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  ints exponent = ((ints)shifted - (ints)all(shift)) << 23;
  return (vec)((ints)p + exponent);
}

// Exchange every second group of S elements: low keeps a's even groups, high b's odd ones.
template <int S, size_t... I>
static inline vec low(vec a, vec b, std::index_sequence<I...>) {
  return __builtin_shuffle(a, b, ints{((I / S) % 2 ? W + (int)I - S : (int)I)...});
}
template <int S, size_t... I>
static inline vec high(vec a, vec b, std::index_sequence<I...>) {
  return __builtin_shuffle(a, b, ints{((I / S) % 2 ? W + (int)I : (int)I + S)...});
}
template <int S>
static inline vec low(vec a, vec b) { return low<S>(a, b, std::make_index_sequence<W>{}); }
template <int S>
static inline vec high(vec a, vec b) { return high<S>(a, b, std::make_index_sequence<W>{}); }

template <int S = W / 2>
static inline float sum(vec x) {
  x += high<S>(x, x);
  if constexpr (S > 1) return sum<S / 2>(x);
  return x[0];
}
template <int S = W / 2>
static inline float largest(vec x) {
  x = larger(x, high<S>(x, x));
  if constexpr (S > 1) return largest<S / 2>(x);
  return x[0];
}

// Transpose a W x W tile.
template <int S = 1>
static inline void transpose(vec* rows) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++) {
    if ((i / S) % 2) continue;
    vec a = low<S>(rows[i], rows[i + S]), b = high<S>(rows[i], rows[i + S]);
    rows[i] = a, rows[i + S] = b;
  }
  if constexpr (2 * S < W) transpose<2 * S>(rows);
}

// n numbers, n a multiple of W
static inline float dot(const float* a, const float* b, int n) {
  vec total = {};
  for (int i = 0; i < n; i += W) total += load(a + i) * load(b + i);
  return sum(total);
}

static inline long round_up(long n, long to) { return (n + to - 1) / to * to; }

// Element types: fp32, or bf16 (its upper half), rounded to nearest.
struct bf16 { uint16_t bits; };
static inline float number(float x) { return x; }
static inline float number(bf16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
static inline void put(float& to, float x) { to = x; }
static inline void put(bf16& to, float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  bool is_nan = x != x;
  to.bits = is_nan ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
