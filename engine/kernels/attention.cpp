// Causal self-attention without its two projections: forward and backward pass.
//
// Each head of each sequence stays in a core's own cache from the first product to the last, so the
// scores are never written to main memory. The backward pass computes them again (FlashAttention:
// Dao et al. 2022). All arithmetic is in fp32.

#include "products.h"
#include <algorithm>
#include <cmath>

constexpr int BLOCK = 96;  // queries processed at a time; a multiple of ROWS

enum Norm { NONE, LAYER, RMS };

// T: tokens, nh: query heads, nkv: key and value heads, hs: head size
struct Shape {
  int B, T, nh, nkv, hs;
  int norm;           // of queries and keys
  float epsilon;      // of that norm
  const float *cos, *sin;  // rotary tables (T, hs / 2), or null
  float dropout;      // probability of dropping a weight
  uint64_t seed;      // of the dropout

  int padded() const { return round_up(hs, W); }
  // one vector more than needed, so that rows do not start at the same place of the cache
  int length() const { return round_up(T, W) + W; }
  int group() const { return nh / nkv; }
  long row() const { return (long)(nh + 2 * nkv) * hs; }
  long width() const { return (long)nh * hs; }
  float scale() const { return 1 / std::sqrt((float)hs); }
};

// -- loading and storing queries and keys --------------------------------------------------------

// Load one head, (T, hs) with a row stride -> (T, padded), zeros at the end of each row
template <class X>
static SEPARATE void fetch(const Shape& s, const X* from, long apart, float* to) {
  int hs = s.hs, padded = s.padded();
  for (int t = 0; t < s.T; t++, from += apart, to += padded) {
    for (int d = 0; d < hs; d++) to[d] = number(from[d]);
    for (int d = hs; d < padded; d++) to[d] = 0;
  }
}

// Store rows of one head, (rows, padded) -> rows with a stride
template <class X>
static SEPARATE void send(const Shape& s, int rows, const float* from, long apart, X* to) {
  for (int t = 0; t < rows; t++, from += s.padded(), to += apart)
    for (int d = 0; d < s.hs; d++) put(to[d], from[d]);
}

static float mean(const float* x, int padded, int n) {
  vec total = {};
  for (int d = 0; d < padded; d += W) total += load(x + d);
  return sum(total) / n;
}

// Normalise, rotate and scale (T, padded) in place.
//   inverse: (T,) receives 1 / std of each row
static void prepare(const Shape& s, float* x, float scale, float* inverse) {
  int hs = s.hs, half = hs / 2, padded = s.padded();
  for (int t = 0; t < s.T; t++, x += padded) {
    float factor = scale;
    if (s.norm) {
      float center = s.norm == LAYER ? mean(x, padded, hs) : 0;
      for (int d = 0; d < hs; d++) x[d] -= center;
      inverse[t] = 1 / std::sqrt(dot(x, x, padded) / hs + s.epsilon);
      factor *= inverse[t];
    }
    for (int d = 0; d < hs; d++) x[d] *= factor;
    if (!s.cos) continue;
    const float *c = s.cos + (long)t * half, *n = s.sin + (long)t * half;
    for (int d = 0; d < half; d++) {
      float a = x[d], b = x[d + half];
      x[d] = a * c[d] - b * n[d];
      x[d + half] = a * n[d] + b * c[d];
    }
  }
}

// The backward pass of prepare: the gradient (T, padded) of its output -> that of its input.
//   prepared: (T, padded), its output
static void unprepare(const Shape& s, const float* prepared, float* gradient, float scale,
                      const float* inverse) {
  int hs = s.hs, half = hs / 2, padded = s.padded();
  for (int t = 0; t < s.T; t++, gradient += padded, prepared += padded) {
    float *g = gradient, factor = scale, center = 0;
    if (s.norm) {
      // a rotation changes no dot product, so it can be computed after the rotation
      float along = dot(g, prepared, padded) / hs / (scale * scale);
      for (int d = 0; d < hs; d++) g[d] -= along * prepared[d];
      factor *= inverse[t];
    }
    if (s.cos) {
      const float *c = s.cos + (long)t * half, *n = s.sin + (long)t * half;
      for (int d = 0; d < half; d++) {
        float a = g[d], b = g[d + half];
        g[d] = a * c[d] + b * n[d];
        g[d + half] = b * c[d] - a * n[d];
      }
    }
    if (s.norm == LAYER) center = mean(g, padded, hs);
    for (int d = 0; d < hs; d++) g[d] = factor * (g[d] - center);
  }
}

// Transpose (T, padded) -> (padded, length), zeros beyond T
static void turn(const Shape& s, const float* x, float* to) {
  int padded = s.padded(), length = s.length();
  for (int t = 0; t < s.T; t += W)
    for (int d = 0; d < padded; d += W) {
      vec square[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) square[i] = t + i < s.T ? load(x + (t + i) * padded + d) : vec{};
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) store(to + (d + i) * length + t, square[i]);
    }
}

// -- dropout -------------------------------------------------------------------------------------

static uint64_t scramble(uint64_t x) {  // SplitMix64 (Steele et al. 2014)
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// A dropout mask of n numbers: 0 or 1 / (1 - dropout). It depends only on the seed and the index of
// the row, so that the forward and the backward pass agree.
static void keep_mask(const Shape& s, uint64_t place, int n, float* mask) {
  uint64_t key = scramble(s.seed ^ scramble(place));
  uint32_t start = key, salt = key >> 32;
  uint32_t threshold = s.dropout * 4294967296.0;
  float kept = 1 / (1 - s.dropout);
  for (int j = 0; j < n; j++) {
    uint32_t h = start + j * 0x9E3779B9u;  // mixed as in Wellons' lowbias32, salted in between
    h = (h ^ (h >> 16)) * 0x7feb352du ^ salt;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    mask[j] = (h ^ (h >> 16)) < threshold ? 0.f : kept;
  }
}

// -- forward pass --------------------------------------------------------------------------------

// Set columns after `last` up to `wide` to zero.
static void clear_future(float* row, int last, int wide) {
  int edge = last / W * W;
  store(row + edge, lanes() > last - edge ? vec{} : load(row + edge));
  for (int j = edge + W; j < wide; j += W) store(row + j, vec{});
}

// Softmax of the scores of the keys up to `last`; returns their log-sum-exp.
static float softmax(float* row, int last, int wide) {
  int edge = last / W * W;
  ints future = lanes() > last - edge;
  vec top = future ? all(-INFINITY) : load(row + edge);
  for (int j = 0; j < edge; j += W) top = larger(top, load(row + j));
  float highest = largest(top);
  vec total = {};
  for (int j = 0; j <= edge; j += W) {
    vec e = exponential(load(row + j) - highest);
    if (j == edge) e = future ? vec{} : e;
    store(row + j, e);
    total += e;
  }
  float all_of_it = sum(total), share = 1 / all_of_it;
  for (int j = 0; j <= edge; j += W) store(row + j, load(row + j) * share);
  for (int j = edge + W; j < wide; j += W) store(row + j, vec{});
  return highest + std::log(all_of_it);
}

// Queries [i, i + rows) of one head.
//   place: index of the head's first query among those of all heads and sequences
//   weights, mask: buffers (rows, length) and (length); out: the result (rows, padded)
static void attend(
    const Shape& s, int i, int rows, const float* q, const float* turned_k, const float* v,
    long place, float* weights, float* mask, float* out, float* lse) {
  int padded = s.padded(), length = s.length(), end = i + rows, wide = round_up(end, W);
  strip<false>(rows, {q + i * padded, padded, 1}, turned_k, length, weights, length, s.hs, wide);
  for (int r = 0; r < rows; r++) {
    float* row = weights + r * length;
    float logarithm = softmax(row, i + r, wide);
    if (lse) lse[place + i + r] = logarithm;
    if (s.dropout > 0) {
      keep_mask(s, place + i + r, wide, mask);
      for (int j = 0; j < wide; j += W) store(row + j, load(row + j) * load(mask + j));
    }
  }
  strip<false>(rows, {weights, length, 1}, v, padded, out, padded, end, padded);
}

template <class X>
static void forward(const Shape& s, const X* qkv, X* y, float* lse) {
  size_t head = (size_t)s.T * s.padded(), length = s.length();
#pragma omp parallel for schedule(static)
  for (int item = 0; item < s.B * s.nkv; item++) {
    int b = item / s.nkv, shared = item % s.nkv;
    scratch.reserve(3 * head + length * (s.padded() + ROWS + 1) + ROWS * s.padded() + s.T + 8 * W);
    float *q = scratch.take(head), *k = scratch.take(head), *v = scratch.take(head);
    float *turned_k = scratch.take(s.padded() * length), *weights = scratch.take(ROWS * length);
    float *mask = scratch.take(length), *out = scratch.take(ROWS * s.padded());
    float* inverse = scratch.take(s.T);
    const X* sequence = qkv + b * s.T * s.row();
    fetch(s, sequence + (s.nh + shared) * s.hs, s.row(), k);
    fetch(s, sequence + (s.nh + s.nkv + shared) * s.hs, s.row(), v);
    prepare(s, k, 1, inverse);
    turn(s, k, turned_k);
    for (int h = shared * s.group(); h < (shared + 1) * s.group(); h++) {
      fetch(s, sequence + h * s.hs, s.row(), q);
      prepare(s, q, s.scale(), inverse);
      X* to = y + b * s.T * s.width() + h * s.hs;
      long place = ((long)b * s.nh + h) * s.T;
      for (int i = 0; i < s.T; i += ROWS) {
        int rows = std::min(ROWS, s.T - i);
        attend(s, i, rows, q, turned_k, v, place, weights, mask, out, lse);
        send(s, rows, out, s.width(), to + i * s.width());
      }
    }
  }
}

// -- backward pass -------------------------------------------------------------------------------

// Buffers of one head, named as in the paper; (T, padded) unless noted otherwise.
struct Head {
  float *q, *k, *v, *dy, *dq, *dk, *dv;
  float *turned_k, *turned_v;  // (padded, length)
  float *p, *ds;               // (BLOCK, length): weights, gradients of the scores
  float *mask;                 // (length)
  float *inverse_q, *inverse_k, *delta;  // (T)

  explicit Head(const Shape& s) {
    size_t head = (size_t)s.T * s.padded(), length = s.length(), turned = s.padded() * length;
    scratch.reserve(7 * head + 2 * turned + (2 * BLOCK + 1) * length + 3 * s.T + 16 * W);
    for (float** each : {&q, &k, &v, &dy, &dq, &dk, &dv}) *each = scratch.take(head);
    for (float** each : {&turned_k, &turned_v}) *each = scratch.take(turned);
    for (float** each : {&p, &ds}) *each = scratch.take(BLOCK * length);
    mask = scratch.take(length);
    for (float** each : {&inverse_q, &inverse_k, &delta}) *each = scratch.take(s.T);
  }
};

// Queries [i, i + rows) of a block that starts at `first`: weights, gradients of the scores and of
// the queries.
static void unattend(const Shape& s, const Head& h, int first, int i, int rows, long place,
                     const float* lse) {
  int padded = s.padded(), length = s.length(), end = i + rows, wide = round_up(end, W);
  float *p = h.p + (i - first) * length, *ds = h.ds + (i - first) * length;
  strip<false>(rows, {h.q + i * padded, padded, 1}, h.turned_k, length, p, length, s.hs, wide);
  strip<false>(rows, {h.dy + i * padded, padded, 1}, h.turned_v, length, ds, length, s.hs, wide);
  for (int r = 0; r < rows; r++, p += length, ds += length) {
    int last = i + r;
    float logarithm = lse[place + last], delta = h.delta[last];
    if (s.dropout > 0) keep_mask(s, place + last, wide, h.mask);
    for (int j = 0; j <= last; j += W) {
      vec weight = exponential(load(p + j) - logarithm), upstream = load(ds + j), used = weight;
      if (s.dropout > 0) used *= load(h.mask + j), upstream *= load(h.mask + j);
      store(p + j, used);
      store(ds + j, weight * (upstream - delta));
    }
    clear_future(p, last, wide);
    clear_future(ds, last, wide);
  }
  ds = h.ds + (i - first) * length;
  strip<false>(rows, {ds, length, 1}, h.k, padded, h.dq + i * padded, padded, end, padded);
}

// Queries [first, last) of a head: their share of all gradients.
static void unattend_block(
    const Shape& s, const Head& h, int first, int last, long place, const float* lse) {
  int padded = s.padded(), length = s.length();
  for (int i = first; i < last; i += ROWS)
    unattend(s, h, first, i, std::min(ROWS, last - i), place, lse);
  for (int j = 0; j < last; j += ROWS) {
    int rows = std::min(ROWS, last - j), from = std::max(first, j);
    long corner = (from - first) * length + j;
    strip<true>(rows, {h.p + corner, 1, length}, h.dy + from * padded, padded,
                h.dv + j * padded, padded, last - from, padded);
    strip<true>(rows, {h.ds + corner, 1, length}, h.q + from * padded, padded,
                h.dk + j * padded, padded, last - from, padded);
  }
}

template <class X>
static void backward(
    const Shape& s, const X* qkv, const X* y, const X* dy, const float* lse, X* dqkv) {
  int padded = s.padded();
#pragma omp parallel for schedule(static)
  for (int item = 0; item < s.B * s.nkv; item++) {
    int b = item / s.nkv, shared = item % s.nkv;
    Head head(s);
    const X* sequence = qkv + b * s.T * s.row();
    X* to = dqkv + b * s.T * s.row();
    long of_k = (s.nh + shared) * s.hs, of_v = (s.nh + s.nkv + shared) * s.hs;
    fetch(s, sequence + of_k, s.row(), head.k);
    fetch(s, sequence + of_v, s.row(), head.v);
    prepare(s, head.k, 1, head.inverse_k);
    turn(s, head.k, head.turned_k);
    turn(s, head.v, head.turned_v);
    std::fill_n(head.dk, s.T * padded, 0.f);
    std::fill_n(head.dv, s.T * padded, 0.f);
    for (int h = shared * s.group(); h < (shared + 1) * s.group(); h++) {
      long of_y = b * s.T * s.width() + h * s.hs, place = ((long)b * s.nh + h) * s.T;
      fetch(s, sequence + h * s.hs, s.row(), head.q);
      prepare(s, head.q, s.scale(), head.inverse_q);
      fetch(s, dy + of_y, s.width(), head.dy);
      fetch(s, y + of_y, s.width(), head.dq);  // borrowed: not in use yet
      for (int t = 0; t < s.T; t++)
        head.delta[t] = dot(head.dq + t * padded, head.dy + t * padded, padded);
      for (int first = 0; first < s.T; first += BLOCK)
        unattend_block(s, head, first, std::min(first + BLOCK, s.T), place, lse);
      unprepare(s, head.q, head.dq, s.scale(), head.inverse_q);
      send(s, s.T, head.dq, s.row(), to + h * s.hs);
    }
    unprepare(s, head.k, head.dk, 1, head.inverse_k);
    send(s, s.T, head.dk, s.row(), to + of_k);
    send(s, s.T, head.dv, s.row(), to + of_v);
  }
}

extern "C" {

// qkv (B, T, (nh + 2 nkv) hs) -> y (B, T, nh hs)
//   lse: (B, nh, T) receives the log-sum-exp of each row for the backward pass; may be null
void attention_forward_fp32(const Shape* s, const float* qkv, float* y, float* lse) {
  forward(*s, qkv, y, lse);
}
void attention_forward_bf16(const Shape* s, const bf16* qkv, bf16* y, float* lse) {
  forward(*s, qkv, y, lse);
}

// The gradient of y -> that of qkv
void attention_backward_fp32(const Shape* s, const float* qkv, const float* y, const float* dy,
                             const float* lse, float* dqkv) {
  backward(*s, qkv, y, dy, lse, dqkv);
}
void attention_backward_bf16(const Shape* s, const bf16* qkv, const bf16* y, const bf16* dy,
                             const float* lse, bf16* dqkv) {
  backward(*s, qkv, y, dy, lse, dqkv);
}

}
