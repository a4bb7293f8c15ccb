// Studies as files: JSON, and CSV for whatever is a table.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qpip::apps {

/// Writes paper.json (everything), and of each table and figure, of the sensitivity, the relations
/// and the profile a JSON and a CSV file. Creates the directory. Throws Failure.
void WritePaperFiles(const nlohmann::json& study, const std::filesystem::path& directory);

/// Throws Failure when there is no such directory and none can be made.
void MakeDirectory(const std::filesystem::path& directory);
/// Writes NAME.json with `content` and NAME.csv with these columns of `rows`. Throws Failure.
void WriteBoth(const std::filesystem::path& directory, const std::string& name,
               const nlohmann::json& content, const nlohmann::json& rows,
               const std::vector<std::string>& columns);
/// Writes text to a file, replacing it. Throws Failure naming the path.
void WriteFile(const std::filesystem::path& path, const std::string& text);

}  // namespace qpip::apps
