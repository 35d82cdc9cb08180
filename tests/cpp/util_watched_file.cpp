// A mapped file that changes: its time alone, its content, its size, and a host that closes descriptors.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "check.h"
#include "util/watched_file.h"

using etggml::WatchedFile;

namespace {

constexpr size_t kLarge = 9 << 20, kSmall = 3000;

struct File {
  char path[64] = "/tmp/etggml_watched_XXXXXX";
  explicit File(size_t size) : content(size) {
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 2654435761u >> 13);
    const int fd = mkstemp(path);
    CHECK(write(fd, content.data(), size) == static_cast<ssize_t>(size));
    close(fd);
  }
  ~File() { unlink(path); }

  void touch(int seconds) const {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
  }
  void change(size_t at, char byte, int seconds) const {
    const int fd = open(path, O_WRONLY);
    CHECK(pwrite(fd, &byte, 1, static_cast<off_t>(at)) == 1);
    close(fd);
    touch(seconds);
  }
  std::unique_ptr<WatchedFile> watch() const {
    auto file = WatchedFile::open(path, "a test file");
    CHECK(file.ok());
    return file.ok() ? file.take() : nullptr;
  }
  std::vector<char> content;
};

void test_time_alone(size_t size) {
  const File on_disk(size);
  const auto file = on_disk.watch();
  for (int i = 0; i < 1000; ++i) file->remember(1000000);
  CHECK(file->check_unchanged().ok());
  for (int second = 1; second < 4; ++second) {
    on_disk.touch(second);
    CHECK(file->check_unchanged().ok());
  }
  // The same bytes once more.
  const int fd = open(on_disk.path, O_WRONLY | O_TRUNC);
  CHECK(write(fd, on_disk.content.data(), size) == static_cast<ssize_t>(size));
  close(fd);
  on_disk.touch(4);
  CHECK(file->check_unchanged().ok());
}

void test_content(size_t size, size_t at) {
  const File on_disk(size);
  const auto file = on_disk.watch();
  for (int i = 0; i < 1000; ++i) file->remember(1000000);
  on_disk.change(at, static_cast<char>(on_disk.content[at] ^ 1), 1);
  CHECK(file->check_unchanged().code == ETGGML_IO);
  on_disk.change(at, on_disk.content[at], 1);  // whoever read it in between has read something else
  CHECK(file->check_unchanged().code == ETGGML_IO);
}

void test_before_it_is_remembered() {
  const File on_disk(kLarge);
  const auto file = on_disk.watch();
  file->remember(30000);
  on_disk.touch(1);
  CHECK(file->check_unchanged().code == ETGGML_IO);
  // What is read from now on is not what was opened.
  for (int i = 0; i < 1000; ++i) file->remember(1000000);
  CHECK(file->check_unchanged().code == ETGGML_IO);
}

void test_size(size_t size) {
  const File on_disk(kSmall);
  const auto file = on_disk.watch();
  CHECK(truncate(on_disk.path, static_cast<off_t>(size)) == 0);
  CHECK(file->check_unchanged().code == ETGGML_IO);
}

void test_replaced() {
  const File on_disk(kSmall), other(kSmall + 1);
  const auto file = on_disk.watch();
  CHECK(rename(other.path, on_disk.path) == 0);
  CHECK(file->check_unchanged().ok());
}

void test_closed_descriptor(bool reused) {
  const File on_disk(kSmall);
  const int number = open("/dev/null", O_RDONLY);
  int foreign = -1;
  {
    close(number);
    const auto file = on_disk.watch();
    CHECK(file->descriptor() == number);
    close(file->descriptor());
    if (reused) {
      foreign = open("/dev/null", O_RDONLY);
      CHECK(foreign == number);
    }
    CHECK(file->check_unchanged().ok());
    CHECK((file->descriptor() == number) == !reused);
    on_disk.change(7, 'x', 1);
    CHECK(file->check_unchanged().code == ETGGML_IO);
    close(file->descriptor());
    unlink(on_disk.path);
    CHECK(file->check_unchanged().code == ETGGML_IO);
  }
  CHECK(!reused || fcntl(foreign, F_GETFD) != -1);  // was not closed as if it were ours
  if (reused) close(foreign);
}

}  // namespace

int main() {
  for (const size_t size : {size_t{1}, size_t{63}, kSmall, kLarge}) test_time_alone(size);
  for (const size_t at : {size_t{0}, size_t{77}, kSmall - 1}) test_content(kSmall, at);
  for (const size_t at : {size_t{0}, kLarge / 2, kLarge - 1}) test_content(kLarge, at);
  test_before_it_is_remembered();
  test_size(kSmall - 1);
  test_size(kSmall + 1);
  test_replaced();
  test_closed_descriptor(false);
  test_closed_descriptor(true);
  return failures() == 0 ? 0 : 1;
}
