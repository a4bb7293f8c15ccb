# The firmware as one program (docs/decisions/0040-the-firmware-is-optimised-as-one.md): its handlers and
# the protocols are many sources, and what a message runs through is short functions of most of them.
#
# Compiled with -flto, then made one object of native code: whoever links it need not know, unlike an
# archive of LTO objects, which every executable would optimise again.
include(CheckIPOSupported)
set(QPIP_CAN_WHOLE_FIRMWARE OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT QPIP_SANITIZE)
  check_ipo_supported(RESULT QPIP_CAN_WHOLE_FIRMWARE LANGUAGES CXX)
endif()
option(QPIP_WHOLE_FIRMWARE "Optimise the firmware and its protocols as one (GCC)" ${QPIP_CAN_WHOLE_FIRMWARE})
if(QPIP_WHOLE_FIRMWARE AND NOT QPIP_CAN_WHOLE_FIRMWARE)
  message(FATAL_ERROR "QPIP_WHOLE_FIRMWARE needs GCC with link-time optimisation, and no sanitizer")
endif()

# qpip_whole_firmware(TARGET SOURCES sources PROTOCOLS target): TARGET, a static library, is SOURCES and
# what they use of the static library PROTOCOLS, as one object. Its copy of the protocols is its own:
# no name of theirs leaves it, so who links both links nothing twice.
function(qpip_whole_firmware target)
  cmake_parse_arguments(arg "" "PROTOCOLS" "SOURCES" ${ARGN})
  get_target_property(protocols ${arg_PROTOCOLS} SOURCES)
  get_target_property(folder ${arg_PROTOCOLS} SOURCE_DIR)
  list(TRANSFORM protocols PREPEND ${folder}/ REGEX "^[^/]")
  add_library(${target}_parts OBJECT ${arg_SOURCES})
  add_library(${target}_protocols STATIC ${protocols})
  foreach(part ${target}_parts ${target}_protocols)
    set_target_properties(${part} PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON EXCLUDE_FROM_ALL ON)
    target_link_libraries(${part} PRIVATE qpip_options qpip_firmware_options)
    target_include_directories(${part} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
    qpip_data_path(${part})
  endforeach()

  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}}")
  set(whole ${CMAKE_CURRENT_BINARY_DIR}/${target}.whole.o)
  file(GENERATE OUTPUT ${whole}.list CONTENT "$<JOIN:$<TARGET_OBJECTS:${target}_parts>,\n>\n")
  # (GCC remarks on an ABI of 2010.)
  add_custom_command(OUTPUT ${whole}
    COMMAND ${CMAKE_CXX_COMPILER} ${flags} $<$<CONFIG:RelWithDebInfo,Release>:-O3> -fPIC -fno-exceptions -fno-rtti -Wno-psabi -flto=2 -r -nostdlib
            -flinker-output=nolto-rel @${whole}.list $<TARGET_FILE:${target}_protocols> -o ${whole}.all
    COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DOBJECT=${whole}.all
            -DARCHIVE=$<TARGET_FILE:${arg_PROTOCOLS}> -DOUT=${whole}.local
            -P ${PROJECT_SOURCE_DIR}/cmake/PrivateSymbols.cmake
    COMMAND ${CMAKE_OBJCOPY} --localize-symbols=${whole}.local ${whole}.all ${whole}
    DEPENDS ${whole}.list ${arg_PROTOCOLS} ${target}_parts ${target}_protocols $<TARGET_OBJECTS:${target}_parts>
            ${PROJECT_SOURCE_DIR}/cmake/PrivateSymbols.cmake
    VERBATIM COMMAND_EXPAND_LISTS COMMENT "Optimising the firmware as one")
  target_sources(${target} PRIVATE ${whole})
  set_source_files_properties(${whole} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()
