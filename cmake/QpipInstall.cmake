# Installation: one static library, its public headers, the commands; a CMake package and pkg-config.
#
# The layers below host_lib are no library of their own to a user: their archives are merged into the
# one that is installed, so that `-lqpip` (or the target QPIP::qpip) is all there is to link. What
# lies outside the project stays a dependency of the package: threads, libpcap, libcrypto and ISA-L, and rdma-core's
# header with the verbs types.
include(CMakePackageConfigHelpers)

set(merged_archive ${PROJECT_BINARY_DIR}/install/libqpip.a)
set(merged_targets qpip qpip_nbd_client qpip_lanai qpip_nic_fw qpip_wire qpip_wireguard qpip_protocols)
set(script "CREATE ${merged_archive}\n")
foreach(target IN LISTS merged_targets)
  string(APPEND script "ADDLIB $<TARGET_FILE:${target}>\n")
endforeach()
string(APPEND script "SAVE\nEND\n")
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/install/merge.mri CONTENT "${script}")
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/install)
add_custom_command(OUTPUT ${merged_archive}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${merged_archive}
  COMMAND ${CMAKE_AR} -M < ${PROJECT_BINARY_DIR}/install/merge.mri
  COMMAND ${CMAKE_RANLIB} ${merged_archive}
  DEPENDS ${merged_targets} ${PROJECT_BINARY_DIR}/install/merge.mri
  COMMENT "Merging the layers into libqpip.a" VERBATIM)
add_custom_target(qpip_merged ALL DEPENDS ${merged_archive})

install(FILES ${merged_archive} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
# The same as a shared library, of which qpip.map shows the public names. Sanitizers have no use for it.
if(NOT QPIP_SANITIZE)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/install/shared.cc CONTENT "// All of it is in libqpip.a.\n")
  add_library(qpip_shared SHARED ${PROJECT_BINARY_DIR}/install/shared.cc)
  add_dependencies(qpip_shared qpip_merged)
  target_link_options(qpip_shared PRIVATE
    LINKER:--whole-archive ${merged_archive} LINKER:--no-whole-archive
    LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/qpip.map LINKER:--no-undefined)
  target_link_libraries(qpip_shared PRIVATE pcap crypto Threads::Threads)
  if(QPIP_ISAL_LINKS)
    target_link_libraries(qpip_shared PRIVATE isal)
  endif()
  set_target_properties(qpip_shared PROPERTIES OUTPUT_NAME qpip
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/install
    LINK_DEPENDS "${merged_archive};${CMAKE_CURRENT_LIST_DIR}/qpip.map")
  install(TARGETS qpip_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime
    NAMELINK_COMPONENT dev)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/host_lib/include/qpip ${PROJECT_SOURCE_DIR}/nbd_client/include/qpip
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev FILES_MATCHING PATTERN "*.h")
foreach(command qpip-ping qpip-ttcp qpip-perf qpip-nbd-server qpip-nbd-client qpip-nbd-copy qpip-nbd-fuse qpip-run
        qpip-sim)
  set(component runtime)
  if(command STREQUAL qpip-sim)
    set(component ns3)
  endif()
  if(TARGET ${command})
    install(TARGETS ${command} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${component})
  endif()
endforeach()

if(TARGET qpip-sim)
  install(FILES ${PROJECT_SOURCE_DIR}/build/rv32i/qpip-firmware.elf
    DESTINATION ${CMAKE_INSTALL_DATADIR}/qpip COMPONENT ns3 OPTIONAL)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/apps/sim/plot DESTINATION ${CMAKE_INSTALL_DATADIR}/qpip
    COMPONENT ns3 FILES_MATCHING PATTERN "*.py")
  install(FILES ${PROJECT_SOURCE_DIR}/apps/sim/python/qpip_study.py
    DESTINATION ${CMAKE_INSTALL_DATADIR}/qpip/python COMPONENT ns3)
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/QPIP)
# The component ns3: find_package(QPIP COMPONENTS ns3) gives QPIP::ns3. What ns-3 scripts include are
# the helpers; these include headers of the layers below by their paths in the source tree, so those
# that are needed (and no others) come along, in a folder of their own.
if(QPIP_BUILD_NS3)
  set(ns3_include_dir ${CMAKE_INSTALL_INCLUDEDIR}/qpip-ns3)
  install(TARGETS qpip_ns3 ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ns3)
  # ... and what ns3/qpip-module.h includes besides.
  set(ns3_headers sim/ns3/helper/*.h sim/ns3/model/radix_scheduler.h)
  if(QPIP_NS3_MPI)
    list(APPEND ns3_headers sim/ns3/mpi/*.h)
  endif()
  install(CODE "
    set(SOURCE \"${PROJECT_SOURCE_DIR}\")
    set(ROOTS \"${ns3_headers}\")
    set(DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${ns3_include_dir}\")
    include(\"${CMAKE_CURRENT_LIST_DIR}/InstallHeaderClosure.cmake\")" COMPONENT ns3)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/sim/ns3/include/ns3 DESTINATION ${ns3_include_dir}
    COMPONENT ns3)
  configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/QPIPns3.cmake.in
    ${PROJECT_BINARY_DIR}/install/QPIPns3.cmake INSTALL_DESTINATION ${package_dir}
    PATH_VARS ns3_include_dir CMAKE_INSTALL_LIBDIR NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  install(FILES ${PROJECT_BINARY_DIR}/install/QPIPns3.cmake
    ${CMAKE_CURRENT_LIST_DIR}/QpipNs3Targets.cmake DESTINATION ${package_dir} COMPONENT ns3)
endif()

# The component testbench: its public headers need nothing but those of host_lib.
if(TARGET qpip_testbench)
  install(TARGETS qpip_testbench ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/sim/testbench/include/qpip
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev FILES_MATCHING PATTERN "*.h")
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/QPIPConfig.cmake.in
  ${PROJECT_BINARY_DIR}/install/QPIPConfig.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/install/QPIPConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/install/QPIPConfig.cmake
              ${PROJECT_BINARY_DIR}/install/QPIPConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT dev)

# pkg-config: directories relative to the file itself, so that an installed tree can be moved.
cmake_path(SET pkgconfig_dir NORMALIZE
  ${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH QPIP_PC_PREFIX ${pkgconfig_dir} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" QPIP_PC_PREFIX "${QPIP_PC_PREFIX}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/qpip.pc.in ${PROJECT_BINARY_DIR}/install/qpip.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/install/qpip.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
