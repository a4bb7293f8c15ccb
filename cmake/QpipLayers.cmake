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
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wcast-align -Woverloaded-virtual -Werror)
if(QPIP_SANITIZE)
  target_compile_options(qpip_options INTERFACE
    -fsanitize=${QPIP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  # It looks at memory through a pipe of its own, and takes every object for another's where there can
  # be no more descriptors.
  target_compile_options(qpip_options INTERFACE -fno-sanitize=vptr)
  target_link_options(qpip_options INTERFACE -fsanitize=${QPIP_SANITIZE})
endif()

# What can be flashed: no exceptions, no RTTI, no thread-safe statics (DESIGN: firmware discipline).
add_library(qpip_firmware_options INTERFACE)
target_compile_options(qpip_firmware_options INTERFACE
  -fno-exceptions -fno-rtti -fno-threadsafe-statics)

# qpip_test(NAME SOURCES... LIBS...): one GoogleTest executable, its cases known to ctest. What is
# tested is optimised; the test's own sources are only where OPTIMISED says that they take the time.
# HEADERS: a precompiled target other than qpip_test_headers.
function(qpip_test name)
  cmake_parse_arguments(arg "RUN_SERIAL;OPTIMISED" "TIMEOUT;PREFIX;HEADERS" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
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
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX "${arg_PREFIX}"
    PROPERTIES TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${arg_RUN_SERIAL} LABELS "${arg_LABELS}")
endfunction()
