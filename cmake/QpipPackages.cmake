# Debian packages: `cpack --config build/release/CPackConfig.cmake -B DIR` makes qpip (the commands),
# libqpip-dev (library, headers, packages for CMake and pkg-config), qpip-ns3 (qpip-sim and the
# component ns3) and qpip-doc (documents, examples, the reference where it has been built).
set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION ${doc_dir}/qpip-doc/docs COMPONENT doc
  FILES_MATCHING PATTERN "*.md" PATTERN "*.png")
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md
  DESTINATION ${doc_dir}/qpip-doc COMPONENT doc)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples DESTINATION ${doc_dir}/qpip-doc COMPONENT doc
  PATTERN "__pycache__" EXCLUDE)
install(DIRECTORY ${PROJECT_BINARY_DIR}/docs/html DESTINATION ${doc_dir}/qpip-doc COMPONENT doc
  OPTIONAL)
set(packages "runtime=qpip" "dev=libqpip-dev" "doc=qpip-doc")
if(TARGET qpip-sim)
  list(APPEND packages "ns3=qpip-ns3")
endif()
set(CPACK_COMPONENTS_ALL)
foreach(entry IN LISTS packages)
  string(REPLACE "=" ";" entry ${entry})
  list(GET entry 0 component)
  list(GET entry 1 package)
  file(READ ${PROJECT_SOURCE_DIR}/LICENSE copyright)
  if(component STREQUAL "ns3")
    string(PREPEND copyright "What is here is linked with ns-3, whose licence is the GNU General Public License, \
version 2\n(/usr/share/common-licenses/GPL-2). As a whole it may be passed on under that one only. The licence of\n\
QPIP's own part of it follows.\n\n")
  endif()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/copyright/${package} CONTENT "${copyright}" @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/copyright/${package} RENAME copyright DESTINATION ${doc_dir}/${package}
    COMPONENT ${component})
  list(APPEND CPACK_COMPONENTS_ALL ${component})
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME qpip)
set(CPACK_PACKAGE_VENDOR "The QPIP authors")
set(CPACK_PACKAGE_CONTACT "The QPIP authors <qpip@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_NS3_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DOC_PACKAGE_SECTION doc)
set(CPACK_DEBIAN_DOC_PACKAGE_ARCHITECTURE all)
# What is linked statically needs, and whose header the library's own include.
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "qpip (= ${PROJECT_VERSION}), libibverbs-dev, libpcap-dev, libssl-dev")
if(QPIP_ISAL_FLAG)
  string(APPEND CPACK_DEBIAN_DEV_PACKAGE_DEPENDS ", libisal-dev")
endif()
set(CPACK_DEBIAN_NS3_PACKAGE_RECOMMENDS "python3-matplotlib, libqpip-dev (= ${PROJECT_VERSION}), libns3-dev, libboost-context-dev, libgsl-dev")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "Commands over queue pairs in software: round trips, bulk transfer, block device")
set(CPACK_COMPONENT_DEV_DESCRIPTION "Library and headers of QPIP")
set(CPACK_COMPONENT_NS3_DESCRIPTION "QPIP's network interface in virtual time: qpip-sim and the component for ns-3")
set(CPACK_COMPONENT_DOC_DESCRIPTION "Documents and examples of QPIP")
include(CPack)
