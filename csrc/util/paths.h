// Where this library and the libraries it works with lie on disk.
#pragma once

#include <string>

namespace etggml {

/// Directory of the file this library was loaded from ("" when the dynamic loader does not say). ggml's backend modules
/// lie there too.
const std::string& library_directory();

/// File that `address` (a function of some loaded library) comes from, "" when unknown.
std::string file_of_address(const void* address);

/// "a/b/c.so" -> "a/b".
std::string parent_directory(const std::string& path);

}  // namespace etggml
