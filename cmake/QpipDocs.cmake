# The target `docs`: the reference in HTML (docs/html/index.html of the build tree). A public name
# without a docstring fails it.
set(doxyfile ${PROJECT_BINARY_DIR}/docs/Doxyfile)
configure_file(${PROJECT_SOURCE_DIR}/docs/Doxyfile.in ${doxyfile} @ONLY)
add_custom_target(docs
  COMMAND Doxygen::doxygen ${doxyfile}
  COMMENT "Reference: ${PROJECT_BINARY_DIR}/docs/html/index.html" VERBATIM)
