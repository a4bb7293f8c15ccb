// The study of the paper as files: JSON, and CSV for whatever is a table.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace qpip::apps {

/// Writes paper.json (everything), and of each table and figure, of the sensitivity, the relations
/// and the profile a JSON and a CSV file. Creates the directory. Throws Failure.
void WritePaperFiles(const nlohmann::json& study, const std::filesystem::path& directory);

}  // namespace qpip::apps
