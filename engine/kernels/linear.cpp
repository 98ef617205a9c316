// Linear layers in fp32: y = x Wᵀ + b, and their gradients.
//
// Threads divide the output, never a sum, so that the thread count does not change the result.

#include "panels.h"
#include <omp.h>

constexpr long COPY_COST = 16;  // cost of copying an element, in multiplications

// The part of a product that a thread computes; the split minimises the slowest thread's work.
//   scattered: the left factor has to be copied, too
static Share share_of(long rows, long columns, bool scattered, int thread, int threads) {
  long best = -1, tall = 1, high = rows, wide = columns;
  for (long down = 1; down <= threads; down++) {
    long across = threads / down;
    long h = round_up((rows + down - 1) / down, ROWS);
    long w = round_up((columns + across - 1) / across, COLUMNS);
    long cost = h * w + COPY_COST * (w + scattered * h);
    if (best < 0 || cost < best) best = cost, tall = down, high = h, wide = w;
  }
  long row = thread % tall * high, column = thread / tall * wide;
  return {std::min(row, rows), std::min(row + high, rows), std::min(column, columns),
          std::min(column + wide, columns)};
}

template <class Panels>
static void product(
    long rows, long columns, long depth, Matrix a, Panels b, const float* bias, float* c) {
#pragma omp parallel
  {
    int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    Share share = share_of(rows, columns, scattered(a), thread, threads);
    product(share, a, b, bias, c, columns, depth);
  }
}

extern "C" {

// y (rows, out) = x (rows, in) w (out, in)ᵀ + bias (out), which may be missing
void linear_forward(
    const float* x, const float* w, const float* bias, float* y, long rows, long out, long in) {
  product(rows, out, in, {x, in, 1}, Turned{w, in}, bias, y);
}

// dx (rows, in) = dy (rows, out) w (out, in)
void linear_backward_input(
    const float* dy, const float* w, float* dx, long rows, long out, long in) {
  product(rows, in, out, {dy, out, 1}, AsIs{w, in}, nullptr, dx);
}

// dw (out, in) = dy (rows, out)ᵀ x (rows, in)
void linear_backward_weight(
    const float* dy, const float* x, float* dw, long rows, long out, long in) {
  product(out, in, rows, {dy, 1, out}, AsIs{x, in}, nullptr, dw);
}

}
