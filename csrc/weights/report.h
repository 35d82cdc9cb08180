// The misfits between a graph and its weights. All are collected, so that a user sees them at once and not one per
// attempt.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "gguf/file_set.h"
#include "util/json.h"
#include "util/status.h"

namespace etggml::weights {

struct Problem {
  enum class Kind { Missing, Shape, Type, Metadata };
  Kind kind = Kind::Missing;
  std::string key;       ///< tensor name or metadata key
  std::string expected;  ///< e.g. "[1024, 3072]"
  std::string found;
  std::vector<std::string> nearest;
  std::string message;    ///< complete sentence
  bool complete = false;  ///< nearest names are in the message
};

struct Report {
  std::vector<Problem> problems;
  std::set<std::string> needed;  ///< tensors the graph uses, by their first name
  uint64_t bytes = 0;            ///< of those found
  std::set<std::string> used;    ///< names found

  /// Adds a problem unless the same one is there (methods of one program share weights).
  void add(Problem problem);
  /// Call when every slot has been looked at. Keeps three nearest names of each missing tensor and adds them to the
  /// messages. Names that the graph does not use come first, because a misspelt name is an unused one.
  void finish();
  /// ETGGML_BIND with the first problems in the message, OK when there are none.
  Status status(const std::string& where) const;
  /// As etggml_program_check documents it. files may be null.
  Json json(const gguf::FileSet* files) const;
};

/// "[1024, 3072]": ggml order, trailing ones dropped.
std::string shape_text(const int64_t ne[4]);

}  // namespace etggml::weights
