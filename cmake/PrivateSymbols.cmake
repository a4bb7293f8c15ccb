# cmake -DNM=... -DOF=... -DOUT=... -P: writes the names of the strong symbols that the archive OF defines.
execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${OF}
  OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+ [TDBR] " symbols "${listed}")
list(TRANSFORM symbols REPLACE " . $" "")
list(JOIN symbols "\n" text)
file(WRITE ${OUT} "${text}\n")
