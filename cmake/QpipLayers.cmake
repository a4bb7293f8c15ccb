# One target a layer, and includes that can only go downward.
#
# A layer's headers are included by their path from the top of the source tree
# ("protocols/tcp/header.h"). Were the source tree itself on the include path, every layer could
# include every other. Instead each layer gets a directory of its own that holds one symbolic link
# to it, and only targets that link the layer have that directory on their path: a wrong include
# does not compile (tests/build/layering_test.cmake holds this).

# qpip_include_root(OUT_VAR NAME PATH...): a directory through which exactly PATHs are visible.
function(qpip_include_root out_var name)
  set(root ${PROJECT_BINARY_DIR}/layers/${name})
  foreach(path ${ARGN})
    get_filename_component(parent ${root}/${path} DIRECTORY)
    file(MAKE_DIRECTORY ${parent})
    if(NOT EXISTS ${root}/${path})
      file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${path} ${root}/${path} SYMBOLIC)
    endif()
  endforeach()
  set(${out_var} ${root} PARENT_SCOPE)
endfunction()

# Warnings, sanitizers and coverage: for every target of this project.
add_library(qpip_options INTERFACE)
target_compile_options(qpip_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wcast-align -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # These are static libraries: no function is put in another's place when a program starts, so one may
  # be inlined into another of its source although it is compiled for use in shared libraries (-fPIC).
  target_compile_options(qpip_options INTERFACE -fno-semantic-interposition)
endif()
if(QPIP_WERROR)
  target_compile_options(qpip_options INTERFACE -Werror)
endif()
if(QPIP_SANITIZE)
  target_compile_options(qpip_options INTERFACE
    -fsanitize=${QPIP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  # It looks at memory through a pipe of its own, and takes every object for another's where there can
  # be no more descriptors.
  target_compile_options(qpip_options INTERFACE -fno-sanitize=vptr)
  target_link_options(qpip_options INTERFACE -fsanitize=${QPIP_SANITIZE})
endif()

# qpip_data_path(TARGET [SOURCE...]): messages run through it, or these sources of it. GCC's -O2 leaves calls
# between short functions that its -O3 inlines (docs/decisions/0040-the-firmware-is-optimised-as-one.md).
# (Not for what puts strings together: GCC 12 then warns of copies that overlap, which they do not.)
function(qpip_data_path target)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR QPIP_SANITIZE)
    return()
  endif()
  set(option $<$<CONFIG:RelWithDebInfo,Release>:-O3>)
  if(ARGN)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS ${option})
  else()
    target_compile_options(${target} PRIVATE ${option})
  endif()
endfunction()

# What can be flashed: no exceptions, no RTTI, no thread-safe statics (DESIGN: firmware discipline).
add_library(qpip_firmware_options INTERFACE)
target_compile_options(qpip_firmware_options INTERFACE
  -fno-exceptions -fno-rtti -fno-threadsafe-statics)

# CRC32C by ISA-L, where there is a library for this target's processor; by table otherwise.
include(CheckCXXSourceCompiles)
find_library(QPIP_ISAL_LIBRARY isal)
if(QPIP_ISAL_LIBRARY)
  set(CMAKE_REQUIRED_LIBRARIES ${QPIP_ISAL_LIBRARY})
  check_cxx_source_compiles("extern \"C\" unsigned crc32_iscsi(unsigned char*, int, unsigned);
    int main() { return crc32_iscsi(nullptr, 0, 0) != 0; }" QPIP_ISAL_LINKS)
  unset(CMAKE_REQUIRED_LIBRARIES)
endif()
if(QPIP_ISAL_LINKS)
  target_compile_definitions(qpip_firmware_options INTERFACE QPIP_ISAL=1)
  target_link_libraries(qpip_firmware_options INTERFACE ${QPIP_ISAL_LIBRARY})
  set(QPIP_ISAL_FLAG " -lisal")  # qpip.pc
endif()

# qpip_test(NAME qpip_X_tests SOURCES... LIBS... LABELS...): one GoogleTest executable. To ctest it is
# X.cases, or SHARDS parts of it for as many cores; its cases are counted by GoogleTest's own reports in
# cases/ (tools/junit_counts.py). What is tested is optimised; the test's own sources are only where
# OPTIMISED says that they take the time. HEADERS: a precompiled target other than qpip_test_headers.
# COSTLY: a filter of cases that are X.cases.costly instead, with the label costly. TIMEOUT: seconds that
# an entry may take, sanitized and beside others.
function(qpip_test name)
  cmake_parse_arguments(arg "RUN_SERIAL;OPTIMISED" "TIMEOUT;HEADERS;SHARDS;COSTLY" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  if(NOT arg_SHARDS)
    set(arg_SHARDS 1)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} qpip_options GTest::gmock_main GTest::gtest)
  if(NOT arg_OPTIMISED)
    target_compile_options(${name} PRIVATE ${QPIP_QUICK_TO_COMPILE})
    if(NOT arg_HEADERS)
      set(arg_HEADERS qpip_test_headers)
    endif()
    qpip_reuse_precompiled(${name} ${arg_HEADERS})
  endif()
  # The target of tools/test --quick: with its own labels, see there.
  if(NOT "${arg_LABELS}" MATCHES "build|long|ns3|processes")
    add_dependencies(qpip_unit_tests ${name})
  endif()
  string(REGEX REPLACE "^qpip_(.*)_tests$" "\\1.cases" entry ${name})
  foreach(shard RANGE 1 ${arg_SHARDS})
    set(part ${entry})
    if(arg_SHARDS GREATER 1)
      string(APPEND part .${shard})
    endif()
    math(EXPR index "${shard} - 1")
    qpip_test_entry(${part} ${name} "*-${arg_COSTLY}" GTEST_TOTAL_SHARDS=${arg_SHARDS} GTEST_SHARD_INDEX=${index})
    set_tests_properties(${part} PROPERTIES TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${arg_RUN_SERIAL}
                         LABELS "${arg_LABELS}")
  endforeach()
  if(arg_COSTLY)
    qpip_test_entry(${entry}.costly ${name} "${arg_COSTLY}")
    set_tests_properties(${entry}.costly PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS};costly")
  endif()
endfunction()

# qpip_test_entry(ENTRY EXECUTABLE FILTER ENVIRONMENT...): GoogleTest says by which cases it ended.
# QPIP_LEAVE_OUT: patterns of cases, colons between, that what runs the tests cannot run (tools/arm64).
function(qpip_test_entry entry executable filter)
  if(QPIP_LEAVE_OUT)
    if(filter MATCHES "-")
      string(APPEND filter ":${QPIP_LEAVE_OUT}")
    else()
      string(APPEND filter "-${QPIP_LEAVE_OUT}")
    endif()
  endif()
  set(report ${PROJECT_BINARY_DIR}/cases/${entry}.xml)
  add_test(NAME ${entry} COMMAND ${executable} --gtest_filter=${filter} --gtest_output=xml:${report})
  set_property(TEST ${entry} PROPERTY ENVIRONMENT ${ARGN})
  set_property(TEST ${entry} PROPERTY COST 5)  # before what is over at once, until ctest has measured it
endfunction()
