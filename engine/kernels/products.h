// The inner kernel of every matrix product, and scratch memory.

#pragma once
#include "vectors.h"
#include <vector>

// A strided matrix: element (i, j) is at[i * row + j * column].
struct Matrix {
  const float* at;
  long row, column;
};

// c (R x V vectors) = a (R x n) b (n x V vectors), added to c if ADD is set.
template <int R, int V, bool ADD>
static inline void tile(Matrix a, const float* b, long b_row, float* c, long c_row, long n) {
  vec total[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; i++)
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) total[i][j] = ADD ? load(c + i * c_row + j * W) : vec{};
  for (long k = 0; k < n; k++) {
    vec row[V];
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) row[j] = load(b + k * b_row + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
      float x = a.at[i * a.row + k * a.column];
#pragma GCC unroll 2
      for (int j = 0; j < V; j++) total[i][j] += x * row[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; i++)
#pragma GCC unroll 2
    for (int j = 0; j < V; j++) store(c + i * c_row + j * W, total[i][j]);
}

// The same for up to ROWS rows.
template <int V, bool ADD>
static SEPARATE void rows_of_tile(
    int rows, Matrix a, const float* b, long b_row, float* c, long c_row, long n) {
  if (rows == ROWS) return tile<ROWS, V, ADD>(a, b, b_row, c, c_row, n);
  for (; rows >= 2; rows -= 2, a.at += 2 * a.row, c += 2 * c_row)
    tile<2, V, ADD>(a, b, b_row, c, c_row, n);
  if (rows) tile<1, V, ADD>(a, b, b_row, c, c_row, n);
}

// The same for any number of whole vectors.
template <bool ADD>
static inline void strip(
    int rows, Matrix a, const float* b, long b_row, float* c, long c_row, long n, long width) {
  long j = 0;
  for (; j + COLUMNS <= width; j += COLUMNS)
    rows_of_tile<2, ADD>(rows, a, b + j, b_row, c + j, c_row, n);
  if (j < width) rows_of_tile<1, ADD>(rows, a, b + j, b_row, c + j, c_row, n);
}

// Scratch memory of a thread, reused between calls.
class Scratch {
  std::vector<float> memory;
  size_t used = 0;

 public:
  void reserve(size_t numbers) {
    if (memory.size() < numbers + W) memory.resize(numbers + W);
    used = 0;
  }
  float* take(size_t numbers) {
    size_t misaligned = (uintptr_t)memory.data() / sizeof(float) % W;
    float* start = memory.data() + (misaligned ? W - misaligned : 0) + used;
    used += round_up(numbers, W);
    return start;
  }
};
static thread_local Scratch scratch;
