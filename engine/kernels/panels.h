// Matrix products.
//
// One factor is packed, a panel of COLUMNS columns at a time, so that the innermost loop reads it
// sequentially; the result stays in registers.

#pragma once
#include "products.h"
#include <algorithm>

constexpr long DEPTH = 512;  // rows of a panel, which then fits into a core's own cache

// The part of a product to compute.
struct Share {
  long row, row_end, column, column_end;
};

// Pack panels of x: columns [j, j + width) of rows [k, k_end).
struct AsIs {
  const float* x;
  long row;
  void copy(float* to, long j, long width, long k, long k_end) const {
    for (; k < k_end; k++, to += COLUMNS) {
      if (width == COLUMNS) {
        store(to, load(x + k * row + j));
        store(to + W, load(x + k * row + j + W));
      } else {
        for (long i = 0; i < COLUMNS; i++) to[i] = i < width ? x[k * row + j + i] : 0;
      }
    }
  }
};

// Pack panels of x transposed: rows [j, j + width), columns [k, k_end).
struct Turned {
  const float* x;
  long row;
  void copy(float* to, long j, long width, long k, long k_end) const {
    long whole = width == COLUMNS ? (k_end - k) / W * W : 0;
    for (long i = 0; i < whole; i += W)
      for (int half = 0; half < COLUMNS; half += W) {
        vec square[W];
#pragma GCC unroll 16
        for (int r = 0; r < W; r++) square[r] = load(x + (j + half + r) * row + k + i);
        transpose(square);
#pragma GCC unroll 16
        for (int r = 0; r < W; r++) store(to + (i + r) * COLUMNS + half, square[r]);
      }
    for (long i = k + whole; i < k_end; i++)
      for (long r = 0; r < COLUMNS; r++)
        to[(i - k) * COLUMNS + r] = r < width ? x[(j + r) * row + i] : 0;
  }
};

// The stride between strips of n numbers per row. Not a power of two: such addresses would compete
// for the same cache sets.
static long strip_length(long n) { return n * ROWS + W; }

// Pack rows [row, row_end) of a, which is column-major, in strips of ROWS rows, each stored column
// by column.
static void copy_strips(Matrix a, long row, long row_end, long k, long k_end, float* to) {
  long length = strip_length(k_end - k);
  for (; k < k_end; k++, to += ROWS) {
    const float* from = a.at + k * a.column;
    float* strip = to;
    long i = row;
    for (; i + ROWS <= row_end; i += ROWS, strip += length) memcpy(strip, from + i, 4 * ROWS);
    for (long r = 0; i + r < row_end; r++) strip[r] = from[i + r];
  }
}

static void add_up(
    int rows, Matrix a, const float* panel, float* c, long c_row, long n, bool add) {
  if (add) return rows_of_tile<2, true>(rows, a, panel, COLUMNS, c, c_row, n);
  rows_of_tile<2, false>(rows, a, panel, COLUMNS, c, c_row, n);
}

// A strip at the right edge of c, narrower than a panel.
static void add_up_at_edge(
    int rows, Matrix a, const float* panel, float* c, long c_row, long n, bool add, long width) {
  float whole[ROWS * COLUMNS];
  if (add)
    for (int i = 0; i < rows; i++) memcpy(whole + i * COLUMNS, c + i * c_row, 4 * width);
  add_up(rows, a, panel, whole, COLUMNS, n, add);
  for (int i = 0; i < rows; i++) memcpy(c + i * c_row, whole + i * COLUMNS, 4 * width);
}

// Whether a is column-major: then it is packed as well.
static bool scattered(Matrix a) { return a.column != 1; }

// A part of c (rows x columns) = a (rows x depth) b (depth x columns) + bias (columns)
//   below: skip what lies entirely above the diagonal
template <class Panels>
static void product(Share s, Matrix a, const Panels& b, const float* bias, float* c, long columns,
                    long depth, bool below = false) {
  if (s.row >= s.row_end || s.column >= s.column_end) return;
  long strips = scattered(a) ? (s.row_end - s.row + ROWS - 1) / ROWS : 0;
  scratch.reserve(DEPTH * COLUMNS + strips * strip_length(DEPTH));
  float *panel = scratch.take(DEPTH * COLUMNS), *copied = scratch.take(0);
  for (long k = 0; k < depth; k += DEPTH) {
    long k_end = std::min(depth, k + DEPTH), n = k_end - k;
    if (strips) copy_strips(a, s.row, s.row_end, k, k_end, copied);
    for (long j = s.column; j < s.column_end; j += COLUMNS) {
      long width = std::min<long>(COLUMNS, s.column_end - j);
      b.copy(panel, j, width, k, k_end);
      long first = below && j > s.row ? (j - s.row) / ROWS * ROWS : 0;
      for (long i = s.row + first; i < s.row_end; i += ROWS) {
        int rows = std::min<long>(ROWS, s.row_end - i);
        float* to = c + i * columns + j;
        if (k == 0 && bias)
          for (int r = 0; r < rows; r++) memcpy(to + r * columns, bias + j, 4 * width);
        Matrix strip = {a.at + i * a.row + k, a.row, 1};
        if (strips) strip = {copied + (i - s.row) / ROWS * strip_length(n), 1, ROWS};
        bool add = k > 0 || bias;
        if (width == COLUMNS) add_up(rows, strip, panel, to, columns, n, add);
        else add_up_at_edge(rows, strip, panel, to, columns, n, add, width);
      }
    }
  }
}
