// Hyperbolic tangent and sigmoid of ours: within a few units in the last place of the true value, everywhere.
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "check.h"
#include "kernels/unary.h"
#include "targets.h"

using etggml::kernels::UnaryFunctions;

namespace {

double sigmoid(double x) { return x >= 0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x)); }

std::vector<float> arguments() {
  std::vector<float> x;
  for (int sign : {-1, 1}) {
    for (int i = 0; i < 200000; ++i) x.push_back(static_cast<float>(sign * i * 1.1e-4));         // up to 22
    for (float v = 1e-38f; v < 1e38f; v *= 1.013f) x.push_back(static_cast<float>(sign) * v);    // all sizes
    for (int i = 0; i < 5000; ++i) x.push_back(static_cast<float>(sign * (20.0 + i * 0.0175)));  // the tails
  }
  return x;
}

void accurate(const char* name, void (*function)(const float*, int64_t, float*), double (*truth)(double)) {
  const std::vector<float> x = arguments();
  std::vector<float> y(x.size());
  function(x.data(), static_cast<int64_t>(x.size()), y.data());
  double worst = 0;
  float where = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = truth(x[i]);
    // Below the smallest normal number there are fewer digits.
    const double room = std::fabs(want) * 2.5e-7 + std::numeric_limits<float>::denorm_min();
    const double ratio = std::fabs(y[i] - want) / room;
    if (!(ratio <= worst)) worst = ratio, where = x[i];
  }
  if (!(worst <= 1.0)) std::printf("%s(%g) is off by %g times the bound\n", name, double(where), worst);
  CHECK(worst <= 1.0);
}

void special(const UnaryFunctions& f) {
  const float inf = std::numeric_limits<float>::infinity();
  const float x[] = {std::nanf(""), inf, -inf, 0.0f, -0.0f, 3e38f, -3e38f};
  float y[7];
  f.tanh(x, 7, y);
  CHECK(std::isnan(y[0]) && y[1] == 1.0f && y[2] == -1.0f && y[3] == 0.0f && y[4] == 0.0f && std::signbit(y[4]));
  CHECK(y[5] == 1.0f && y[6] == -1.0f);
  f.sigmoid(x, 7, y);
  CHECK(std::isnan(y[0]) && y[1] == 1.0f && y[2] < 1e-44f && y[2] >= 0.0f && y[3] == 0.5f && y[4] == 0.5f);
}

/// Lengths that leave a rest: nothing beyond is written, and an element does not depend on its place.
void rests(void (*function)(const float*, int64_t, float*)) {
  const std::vector<float> x = arguments();
  std::vector<float> all(64);
  function(x.data(), 64, all.data());
  for (int64_t n = 0; n < 64; ++n) {
    std::vector<float> y(65, -7.0f);
    function(x.data(), n, y.data());
    for (int64_t i = 0; i < 65; ++i) CHECK(y[size_t(i)] == (i < n ? all[size_t(i)] : -7.0f));
  }
}

void check(const UnaryFunctions& f) {
  accurate("tanh", f.tanh, [](double x) { return std::tanh(x); });
  accurate("sigmoid", f.sigmoid, sigmoid);
  special(f);
  rests(f.tanh);
  rests(f.sigmoid);
}

}  // namespace

int main() {
  int tried = 0;
  on_each_target([&](const char* name) {
    const UnaryFunctions functions = etggml::kernels::unary_functions();
    if (!functions.tanh) return;
    std::printf("%s\n", name);
    ++tried;
    check(functions);
  });
  return failures() != 0 ? 1 : tried == 0 ? 77 : 0;
}
