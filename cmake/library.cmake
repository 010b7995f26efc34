# Lethe as a library for other programs: liblethe.so beside liblethe.a, the header, pkg-config files
# and a CMake package. liblethe.so has the functions of include/lethe/lethe.h and nothing else to see;
# libllama stays outside, so that it is the program's own. For programs that have none, the one that
# lethe was built with is installed as well, out of the way (lib/lethe, include/lethe/llama), with a
# pkg-config file of its own: lethe-llama.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

target_compile_options(lethe PRIVATE -ffunction-sections -fdata-sections)
add_library(lethe_shared SHARED src/stage/attach.c)
add_dependencies(lethe_shared lethe)
target_include_directories(lethe_shared PRIVATE src include)
target_link_libraries(lethe_shared PRIVATE $<TARGET_FILE:lethe> OpenMP::OpenMP_C PkgConfig::JANSSON
  PkgConfig::XXHASH m lethe_flags)
target_link_options(lethe_shared PRIVATE -Wl,--gc-sections -Wl,--as-needed -Wl,--exclude-libs,ALL)
set_target_properties(lethe_shared PROPERTIES OUTPUT_NAME lethe C_VISIBILITY_PRESET hidden
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})

install(TARGETS lethe lethe_shared
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/lethe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# From the folder of pkg-config files to the prefix, whatever CMAKE_INSTALL_LIBDIR is below it.
file(RELATIVE_PATH LETHE_PC_UP /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)

set(LETHE_PC_OPENMP ${OpenMP_C_FLAGS})
set(LETHE_HAS_LLAMA OFF)
set(LETHE_PC_LLAMA "")
if(NOT LETHE_SYSTEM_LLAMA)
  set(LETHE_HAS_LLAMA ON)
  file(GLOB llama_archives ${lethe_llama_prefix}/lib/*.a)
  foreach(archive ${llama_archives})
    get_filename_component(name ${archive} NAME)
    string(APPEND LETHE_PC_LLAMA " -l:${name}")
  endforeach()
  install(FILES ${llama_archives} DESTINATION ${CMAKE_INSTALL_LIBDIR}/lethe)
  install(DIRECTORY ${lethe_llama_prefix}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lethe/llama
    FILES_MATCHING PATTERN "*.h")
  configure_file(cmake/lethe-llama.pc.in ${CMAKE_BINARY_DIR}/lethe-llama.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/lethe-llama.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
configure_file(cmake/lethe.pc.in ${CMAKE_BINARY_DIR}/lethe.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/lethe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_package_config_file(cmake/lethe-config.cmake.in ${CMAKE_BINARY_DIR}/lethe-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lethe)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/lethe-config-version.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/lethe-config.cmake ${CMAKE_BINARY_DIR}/lethe-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lethe)
