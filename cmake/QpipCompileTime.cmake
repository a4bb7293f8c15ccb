# What makes compiling and linking quick and changes nothing in what is built: ccache, mold and
# precompiled headers (docs/decisions/0037-build-time.md).

# ccache. What it must know to cache with precompiled headers is said here, so that nobody has to set
# it up; with the compiler's own list of dependencies it need not preprocess what it has not seen.
find_program(QPIP_CCACHE ccache)
if(QPIP_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    env CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_DEPEND=1 ${QPIP_CCACHE})
endif()

# mold links in a fraction of the time, and there are many test executables.
include(CheckLinkerFlag)
check_linker_flag(CXX -fuse-ld=mold QPIP_HAVE_MOLD)
if(QPIP_HAVE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# For sources whose run takes less than their optimisation. (GCC remarks on an ABI of 2010.)
set(QPIP_QUICK_TO_COMPILE -O0 -Wno-psabi)

option(QPIP_PRECOMPILE "Precompile the headers of others that many sources include" ON)

# For what moves no data (options, JSON, tables): there templates are many and loops few. What it
# reuses of precompiled headers is of the same level.
set(QPIP_LIGHTLY_OPTIMISED -O1)

# qpip_precompiled_headers(NAME HEADERS <...> LIBS targets OPTIONS options [FOR_LIBRARIES]): headers
# that are not this project's own, for executables to reuse, or for libraries.
function(qpip_precompiled_headers name)
  cmake_parse_arguments(arg "FOR_LIBRARIES" "" "HEADERS;LIBS;OPTIONS" ${ARGN})
  if(NOT QPIP_PRECOMPILE)
    return()
  endif()
  set(source ${PROJECT_BINARY_DIR}/precompiled/${name}.cc)
  if(NOT EXISTS ${source})
    file(WRITE ${source} "")
  endif()
  add_library(${name} OBJECT ${source})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} qpip_options)
  # One that is precompiled with other options than it is used with would be refused.
  if(NOT arg_FOR_LIBRARIES)
    qpip_as_executables_are(${name})
  endif()
  target_compile_options(${name} PRIVATE ${arg_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${arg_HEADERS})
  qpip_cacheable_precompiled_headers(${name})
endfunction()

# qpip_reuse_precompiled(TARGET NAME): TARGET's sources begin with what NAME has precompiled.
function(qpip_reuse_precompiled target name)
  if(QPIP_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${name})
    qpip_cacheable_precompiled_headers(${target})
  endif()
endfunction()

# Libraries are compiled for use in shared libraries as well; one that only executables link need not
# be, and can then reuse what was precompiled for them.
function(qpip_as_executables_are target)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIE)
endfunction()

# ccache asks for it.
function(qpip_cacheable_precompiled_headers target)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()

option(QPIP_TOGETHER "Compile several sources at a time where their headers cost most: for builds that are made whole" OFF)

# qpip_together(TARGET [EXCEPT sources]): with QPIP_TOGETHER, its sources eight at a time. EXCEPT those
# whose names in anonymous namespaces are others' too.
function(qpip_together target)
  cmake_parse_arguments(arg "" "" "EXCEPT" ${ARGN})
  if(QPIP_TOGETHER)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    set_source_files_properties(${arg_EXCEPT} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
endfunction()
