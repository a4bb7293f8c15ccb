// Where results go: checked before the first run, written whole, every failure with its path.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qpip::apps {

/// Makes the directory when there is none, and writes to it once: before a run, so that it does not
/// end in vain. Throws Failure.
void MakeDirectory(const std::filesystem::path& directory);
/// Throws Failure when the file cannot be opened to be written. What it holds stays.
void RequireWritable(const std::filesystem::path& path);

/// Writes text to a file, replacing it. Throws Failure naming the path.
void WriteFile(const std::filesystem::path& path, const std::string& text);
/// The same so that the file is there whole or not at all, also after a power cut.
void WriteWhole(const std::filesystem::path& path, const std::string& text);
/// Writes NAME.json with `content` and NAME.csv with these columns of `rows`. Throws Failure.
void WriteBoth(const std::filesystem::path& directory, const std::string& name,
               const nlohmann::json& content, const nlohmann::json& rows,
               const std::vector<std::string>& columns);

/// Comma-separated values (RFC 4180) with a header; what a row lacks is an empty field.
std::string Csv(const nlohmann::json& rows, const std::vector<std::string>& columns);

}  // namespace qpip::apps
