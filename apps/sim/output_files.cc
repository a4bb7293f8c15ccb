#include "apps/sim/output_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "apps/common/command_line.h"
#include "apps/common/json_output.h"

namespace qpip::apps {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void FailToWrite(const fs::path& path, int error) {
  throw Failure("cannot write " + path.string() + ": " + std::strerror(error) +
                ": name a place that can be written and has room");
}

/// Writes and closes; 0 or an errno.
int WriteAndClose(int fd, const std::string& text, bool sync) {
  int error = 0;
  for (size_t done = 0; done < text.size() && error == 0;) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote >= 0) {
      done += static_cast<size_t>(wrote);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (error == 0 && sync && fsync(fd) != 0) error = errno;
  if (close(fd) != 0 && error == 0) error = errno;
  return error;
}

/// A name beside `path` that no other process uses.
fs::path Draft(const fs::path& path) {
  return path.string() + "." + std::to_string(getpid()) + ".new";
}

/// A field of RFC 4180.
std::string CsvField(const nlohmann::json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return JsonText(value);
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char letter : text) {
    if (letter == '"') out += '"';
    out += letter;
  }
  return out + "\"";
}

}  // namespace

void MakeDirectory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (!error && !fs::is_directory(directory))
    error = std::make_error_code(std::errc::not_a_directory);
  if (error) {
    throw Failure("cannot make the directory " + directory.string() + ": " + error.message() +
                  ": name one that can be written");
  }
  const fs::path probe = directory / "probe";
  WriteWhole(probe, "room for results?\n");
  fs::remove(probe, error);
}

void RequireWritable(const fs::path& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) FailToWrite(path, errno);
  close(fd);
}

void WriteFile(const fs::path& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) FailToWrite(path, errno);
  if (const int error = WriteAndClose(fd, text, /*sync=*/false); error != 0) {
    FailToWrite(path, error);
  }
}

void WriteWhole(const fs::path& path, const std::string& text) {
  const fs::path draft = Draft(path);
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) FailToWrite(path, errno);
  int error = WriteAndClose(fd, text, /*sync=*/true);
  if (error == 0 && std::rename(draft.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  unlink(draft.c_str());
  FailToWrite(path, error);
}

void WriteBoth(const fs::path& directory, const std::string& name, const nlohmann::json& content,
               const nlohmann::json& rows, const std::vector<std::string>& columns) {
  WriteFile(directory / (name + ".json"), JsonText(content, 1) + "\n");
  WriteFile(directory / (name + ".csv"), Csv(rows, columns));
}

std::string Csv(const nlohmann::json& rows, const std::vector<std::string>& columns) {
  std::string out;
  for (size_t i = 0; i < columns.size(); ++i) out += (i == 0 ? "" : ",") + columns[i];
  out += "\n";
  for (const nlohmann::json& row : rows) {
    for (size_t i = 0; i < columns.size(); ++i) {
      if (i != 0) out += ",";
      if (row.contains(columns[i])) out += CsvField(row[columns[i]]);
    }
    out += "\n";
  }
  return out;
}

}  // namespace qpip::apps
