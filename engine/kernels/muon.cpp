// Muon (Jordan et al. 2024) in fp32: momentum, orthogonalised by Newton-Schulz iterations.
//
// The Newton-Schulz iteration x <- (a + b g + c g²) x with g = x xᵀ is a polynomial of the first g
// times the first x, and polynomials of one matrix commute. So all iterations work on g and on the
// product of their polynomials, which are square, small and symmetric: only half of each is
// computed. Every matrix stays in the cache of its core.

#include "panels.h"
#include <cmath>

constexpr float A = 3.4445f, B = -4.7750f, C = 2.0315f;  // of the quintic polynomial
constexpr int ITERATIONS = 5;
constexpr float EPSILON = 1e-7f;

static thread_local Scratch arena;  // panels.h has its own

// c (n x n) = a (n x n) b (n x n) for a symmetric result: half is computed, half is mirrored.
template <class Panels>
static void symmetric(Matrix a, const Panels& b, float* c, long n, long depth) {
  product({0, n, 0, n}, a, b, nullptr, c, n, depth, true);
  for (long i = 0; i < n; i++)
    for (long j = i + 1; j < n; j++) c[i * n + j] = c[j * n + i];
}
static void symmetric(const float* a, const float* b, float* c, long n) {
  symmetric({a, n, 1}, AsIs{b, n}, c, n, n);
}

// The product of all iterations' polynomials of g (n x n), which is overwritten; returns a pointer
// into room (4 n² numbers).
static const float* polynomial(float* g, long n, float* room) {
  float *p = room, *q = p + n * n, *next = q + n * n, *square = next + n * n;
  for (int k = 0; k < ITERATIONS; k++) {
    symmetric(g, g, square, n);
    float* to = k ? p : q;
    for (long i = 0; i < n * n; i++) to[i] = B * g[i] + C * square[i];
    for (long i = 0; i < n; i++) to[i * n + i] += A;
    if (k) {
      symmetric(p, q, next, n);
      std::swap(q, next);
    }
    if (k + 1 == ITERATIONS) break;
    symmetric(to, g, square, n);  // x becomes p x, so g becomes p g p
    symmetric(square, to, g, n);
  }
  return q;
}

// Nesterov momentum of a matrix; returns the sum of squares.
static double look_ahead(const float* gradient, float* average, float momentum, long n, float* x) {
  double squares = 0;
  for (long i = 0; i < n; i++) {
    average[i] += (1 - momentum) * (gradient[i] - average[i]);
    x[i] = gradient[i] + momentum * (average[i] - gradient[i]);
  }
  long whole = n / W * W;
  for (long i = 0; i < whole; i += 4 * W) squares += dot(x + i, x + i, std::min(4l * W, whole - i));
  for (long i = whole; i < n; i++) squares += x[i] * x[i];
  return squares;
}

// One matrix (rows x columns), or its average alone; see muon_step.
static void move(const float* gradient, float* average, float* weight, long rows, long columns,
                 bool moves, float momentum, float rate, float keep) {
  bool wide = rows <= columns;
  long numbers = rows * columns, n = std::min(rows, columns);
  arena.reserve(2 * round_up(numbers, W) + 5 * n * n + 4 * W);
  float *x = arena.take(numbers), *y = arena.take(numbers);
  float *g = arena.take(n * n), *room = arena.take(4 * n * n);
  double norm = std::sqrt(look_ahead(gradient, average, momentum, numbers, x));
  if (!moves) return;
  float scale = 1 / std::max<double>(norm, EPSILON);
  for (long i = 0; i < numbers; i++) x[i] *= scale;
  if (wide) {
    symmetric({x, columns, 1}, Turned{x, columns}, g, n, columns);  // x xᵀ
    const float* q = polynomial(g, n, room);
    product({0, n, 0, columns}, {q, n, 1}, AsIs{x, columns}, nullptr, y, columns, n);
  } else {
    symmetric({x, 1, columns}, AsIs{x, columns}, g, n, rows);  // xᵀ x
    const float* q = polynomial(g, n, room);
    product({0, rows, 0, n}, {x, columns, 1}, AsIs{q, n}, nullptr, y, n, n);
  }
  float step = rate * std::sqrt(std::max(1.f, (float)rows / columns));
  for (long i = 0; i < numbers; i++) weight[i] = weight[i] * keep - step * y[i];
}

extern "C" {

// Update n matrices of different sizes.
//   averages: momentum buffers, updated in place
//   moves: whether the weights are updated, or the averages alone
//   keep: factor of the weights: 1 - learning rate * weight decay
void muon_step(long matrices, const float* const* gradients, float* const* averages,
               float* const* weights, const long* rows, const long* columns, bool moves, float momentum,
               float rate, float keep) {
#pragma omp parallel for schedule(dynamic)
  for (long i = 0; i < matrices; i++)
    move(gradients[i], averages[i], weights[i], rows[i], columns[i], moves, momentum, rate, keep);
}

}
