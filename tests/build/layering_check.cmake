# cmake -DCOMPILER=... -DINCLUDE_DIRS=a|b -DHEADER=... -DEXPECT=compiles|fails -DSOURCE=... -DWORK=... -P this
#
# Compiles a translation unit that includes nothing but HEADER, with the include path of one layer's
# target. A forbidden include must fail because that very header is not found, and for no other
# reason; that the header exists (in the source tree SOURCE) is checked first.
string(REPLACE "|" ";" include_dirs "${INCLUDE_DIRS}")
set(flags "")
foreach(dir IN LISTS include_dirs)
  if(dir)
    list(APPEND flags -I${dir})
  endif()
endforeach()
if(NOT EXISTS ${SOURCE}/${HEADER} AND NOT EXISTS ${SOURCE}/host_lib/include/${HEADER}
   AND NOT EXISTS ${SOURCE}/sim/testbench/include/${HEADER} AND NOT EXISTS ${SOURCE}/nbd_client/include/${HEADER})
  message(FATAL_ERROR "there is no ${HEADER} any more: name another header of that layer")
endif()
file(MAKE_DIRECTORY ${WORK})
file(WRITE ${WORK}/probe.cc "#include \"${HEADER}\"\n")
execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only ${flags} ${WORK}/probe.cc
  RESULT_VARIABLE result ERROR_VARIABLE errors)
if(EXPECT STREQUAL "compiles")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${HEADER} must be visible to this layer:\n${errors}")
  endif()
elseif(result EQUAL 0)
  message(FATAL_ERROR "${HEADER} must not be visible to this layer, but it compiles with ${flags}")
elseif(NOT errors MATCHES "probe.cc:1:[0-9]+: fatal error: ${HEADER}: No such file")
  message(FATAL_ERROR "refused, but not for want of ${HEADER}:\n${errors}")
endif()
