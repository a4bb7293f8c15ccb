# ns-3 3.37 names its libraries' targets ns3::libcore, 3.43 ns3::core: here it is the newer name for
# either. Included behind find_package(ns3), by this project's build and by its package.
foreach(module core network internet csma point-to-point applications flow-monitor)
  if(NOT TARGET ns3::${module} AND TARGET ns3::lib${module})
    add_library(ns3::${module} INTERFACE IMPORTED GLOBAL)
    target_link_libraries(ns3::${module} INTERFACE ns3::lib${module})
  endif()
endforeach()
