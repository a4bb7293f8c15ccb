#include "apps/sim/paper_files.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "apps/common/command_line.h"

namespace qpip::apps {
namespace {

using nlohmann::json;

/// A field of RFC 4180.
std::string CsvField(const json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char letter : text) {
    if (letter == '"') out += '"';
    out += letter;
  }
  return out + "\"";
}

std::string Csv(const json& rows, const std::vector<std::string>& columns) {
  std::string out;
  for (size_t i = 0; i < columns.size(); ++i) out += (i == 0 ? "" : ",") + columns[i];
  out += "\n";
  for (const json& row : rows) {
    for (size_t i = 0; i < columns.size(); ++i) {
      if (i != 0) out += ",";
      if (row.contains(columns[i])) out += CsvField(row[columns[i]]);
    }
    out += "\n";
  }
  return out;
}

/// One line a variation, one column a figure: the change, as a fraction.
json FlatSensitivity(const json& sensitivity) {
  json rows = json::array();
  for (const json& row : sensitivity["rows"]) {
    json flat = row;
    for (const auto& [key, change] : row["changes"].items()) flat[key] = change;
    rows.push_back(std::move(flat));
  }
  return rows;
}

void WriteSensitivity(const std::filesystem::path& directory, const std::string& name,
                      const json& sensitivity) {
  std::vector<std::string> columns = {"group", "name", "change", "kind"};
  for (const json& key : sensitivity["figures"]) columns.push_back(key);
  columns.push_back("source");
  WriteBoth(directory, name, sensitivity, FlatSensitivity(sensitivity), columns);
}

}  // namespace

void WriteFile(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) {
    throw Failure("cannot write " + path.string() + ": " + std::strerror(errno) +
                  ": name a directory that can be written");
  }
}

void MakeDirectory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    throw Failure("cannot make " + directory.string() + ": " + error.message() +
                  ": name a directory that can be written");
  }
}

void WriteBoth(const std::filesystem::path& directory, const std::string& name, const json& content,
               const json& rows, const std::vector<std::string>& columns) {
  WriteFile(directory / (name + ".json"), content.dump(1) + "\n");
  WriteFile(directory / (name + ".csv"), Csv(rows, columns));
}

void WritePaperFiles(const json& study, const std::filesystem::path& directory) {
  MakeDirectory(directory);
  WriteFile(directory / "paper.json", study.dump(1) + "\n");
  for (const json& artifact : study["artifacts"]) {
    WriteBoth(directory, artifact["key"], artifact, artifact["rows"],
              {"item", "series", "unit", "published", "simulated", "error", "note", "command"});
  }
  WriteBoth(directory, "relations", study["relations"], study["relations"],
            {"key", "title", "subject", "low", "high", "simulated", "holds", "text", "place"});
  WriteBoth(directory, "profile", study["profile"], study["profile"]["parameters"],
            {"name", "value", "unit", "kind", "profile", "source", "meaning"});
  if (!study.contains("sensitivity")) return;
  WriteSensitivity(directory, "sensitivity", study["sensitivity"]);
  for (const json& host : study["host_sensitivity"]) {
    WriteSensitivity(directory, "sensitivity-" + host["profile"].get<std::string>(), host);
  }
}

}  // namespace qpip::apps
