# cmake -DNM=... -DOBJECT=... -DARCHIVE=... -DOUT=... -P: writes the names that must not leave OBJECT:
# what ARCHIVE defines, and clones that the compiler has made of functions (the only names with a dot).
function(strong_symbols out file)
  execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${file}
    OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^ \n]+ [TDBR] " symbols "${listed}")
  list(TRANSFORM symbols REPLACE " . $" "")
  set(${out} ${symbols} PARENT_SCOPE)
endfunction()

strong_symbols(clones ${OBJECT})
list(FILTER clones INCLUDE REGEX "\\.")
strong_symbols(others ${ARCHIVE})
list(JOIN clones "\n" clones)
list(JOIN others "\n" others)
file(WRITE ${OUT} "${clones}\n${others}\n")
