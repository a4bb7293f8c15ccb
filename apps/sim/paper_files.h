// The paper's tables and figures as files: JSON, CSV, and through the plot program PNG, SVG and the
// report.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qpip::apps {

/// Writes paper.json (everything), and of each table and figure, of the sensitivity, the relations
/// and the profile a JSON and a CSV file. Creates the directory. Throws Failure.
void WritePaperFiles(const nlohmann::json& study, const std::filesystem::path& directory);

/// Writes text to a file, replacing it. Throws Failure naming the path.
void WriteFile(const std::filesystem::path& path, const std::string& text);

}  // namespace qpip::apps
