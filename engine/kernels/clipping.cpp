// Clip all gradients to a maximum total norm.

#include "vectors.h"
#include <algorithm>
#include <cmath>
#include <vector>

constexpr long PIECE = 8192;  // elements per partial sum; fixed, for the same result with any threads

struct Piece {
  float* at;
  long numbers;
};

static std::vector<Piece> pieces_of(long tensors, float* const* at, const long* numbers) {
  std::vector<Piece> pieces;
  for (long i = 0; i < tensors; i++)
    for (long start = 0; start < numbers[i]; start += PIECE)
      pieces.push_back({at[i] + start, std::min(PIECE, numbers[i] - start)});
  return pieces;
}

static double squares(Piece piece) {
  long whole = piece.numbers / W * W;
  double total = dot(piece.at, piece.at, whole);
  for (long i = whole; i < piece.numbers; i++) total += (double)piece.at[i] * piece.at[i];
  return total;
}

extern "C" {

// Returns the norm before clipping; as in torch.nn.utils.clip_grad_norm_.
float clip_gradients(long tensors, float* const* at, const long* numbers, float clip) {
  std::vector<Piece> pieces = pieces_of(tensors, at, numbers);
  std::vector<double> sums(pieces.size());
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < pieces.size(); i++) sums[i] = squares(pieces[i]);
  double total = 0;
  for (double sum : sums) total += sum;
  float norm = std::sqrt(total), factor = clip / (norm + 1e-6f);
  if (factor < 1) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < pieces.size(); i++)
      for (long k = 0; k < pieces[i].numbers; k++) pieces[i].at[k] *= factor;
  }
  return norm;
}

}
