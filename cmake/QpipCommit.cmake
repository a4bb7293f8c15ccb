# Writes OUT, a header that says which commit the sources in SOURCE are of; "" where no git says so.
# Left alone when it says so already: cmake -DSOURCE=... -DOUT=... -P QpipCommit.cmake
cmake_minimum_required(VERSION 3.25)  # a script has the policies of no project
set(commit "")
find_program(git git)
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    set(commit "")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define QPIP_COMMIT \"@commit@\"\n" @ONLY)
