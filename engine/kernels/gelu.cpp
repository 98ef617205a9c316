// GELU (Hendrycks & Gimpel 2016) and its derivative, in fp32, by the exact definition: x Phi(x).

#include "vectors.h"

// Phi(x), the normal cumulative distribution, to 2e-7 (Abramowitz & Stegun 7.1.26)
//   bell: receives exp(-x² / 2)
static inline vec share_below(vec x, vec& bell) {
  vec z = x * 0.70710678f, size = z < 0 ? -z : z;
  bell = exponential(-(z * z));
  vec t = 1.0f / (1.0f + 0.3275911f * size);
  vec p = 1.061405429f * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  vec tail = 0.5f * p * t * bell;
  return z < 0 ? tail : 1.0f - tail;
}

static vec gelu(vec x, vec) {
  vec bell;
  return x * share_below(x, bell);
}

static vec gelu_gradient(vec x, vec dy) {
  vec bell, below = share_below(x, bell);
  return dy * (below + x * bell * 0.39894228f);
}

// to[i] = f(x[i], dy[i])
template <class F>
static void each(const float* x, const float* dy, float* to, long n, F f) {
  long whole = n / W * W;
#pragma omp parallel for schedule(static)
  for (long i = 0; i < whole; i += W) store(to + i, f(load(x + i), load(dy + i)));
  if (whole == n) return;
  float last[3][W] = {};
  memcpy(last[0], x + whole, 4 * (n - whole));
  memcpy(last[1], dy + whole, 4 * (n - whole));
  store(last[2], f(load(last[0]), load(last[1])));
  memcpy(to + whole, last[2], 4 * (n - whole));
}

extern "C" {

void gelu_forward(const float* x, float* y, long n) { each(x, x, y, n, gelu); }

void gelu_backward(const float* x, const float* dy, float* dx, long n) {
  each(x, dy, dx, n, gelu_gradient);
}

}
