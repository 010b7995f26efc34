# lethe_blas: the dense float32 product (CBLAS sgemm).
find_path(LETHE_CBLAS_INCLUDE cblas.h
  PATH_SUFFIXES openblas-pthread openblas x86_64-linux-gnu/openblas-pthread
  PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
find_library(LETHE_OPENBLAS NAMES openblas
  PATH_SUFFIXES openblas-pthread ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-pthread REQUIRED)
add_library(lethe_blas INTERFACE)
target_include_directories(lethe_blas SYSTEM INTERFACE ${LETHE_CBLAS_INCLUDE})
target_link_libraries(lethe_blas INTERFACE ${LETHE_OPENBLAS})
