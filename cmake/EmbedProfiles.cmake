# Writes a C++ source with the text of each profile: OUT, PROFILES (a list of files).
set(entries "")
foreach(file ${PROFILES})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND entries "      {\"${name}\", R\"TOML(${text})TOML\"},\n")
endforeach()
file(WRITE ${OUT}.new "#include \"sim/ns3/model/profile.h\"

namespace qpip::sim {

const std::vector<BuiltInProfile>& BuiltInProfiles() {
  static const std::vector<BuiltInProfile> profiles = {
${entries}  };
  return profiles;
}

}  // namespace qpip::sim
")
file(RENAME ${OUT}.new ${OUT})
