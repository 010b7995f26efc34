# lethe_blas: the dense float32 product. oneDNN where it is installed, else any CBLAS (OpenBLAS,
# BLIS, ...). Only measurements use it: the dense side of `lethe bench` (src/kernel/gemm.h).
set(LETHE_GEMM auto CACHE STRING "Dense products: auto, dnnl or cblas")
set_property(CACHE LETHE_GEMM PROPERTY STRINGS auto dnnl cblas)
add_library(lethe_blas INTERFACE)

if(NOT LETHE_GEMM STREQUAL cblas)
  find_path(LETHE_DNNL_INCLUDE dnnl.h)
  find_library(LETHE_DNNL NAMES dnnl)
  if(LETHE_DNNL_INCLUDE AND LETHE_DNNL)
    set(LETHE_GEMM_DNNL ON)
  elseif(LETHE_GEMM STREQUAL dnnl)
    message(FATAL_ERROR "oneDNN is missing (Debian: libdnnl-dev)")
  endif()
endif()

if(LETHE_GEMM_DNNL)
  target_include_directories(lethe_blas SYSTEM INTERFACE ${LETHE_DNNL_INCLUDE})
  target_compile_definitions(lethe_blas INTERFACE LETHE_GEMM_DNNL)
  target_link_libraries(lethe_blas INTERFACE ${LETHE_DNNL})
else()
  find_path(LETHE_CBLAS_INCLUDE cblas.h
    PATH_SUFFIXES openblas-pthread openblas x86_64-linux-gnu/openblas-pthread
    PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
  find_library(LETHE_CBLAS NAMES openblas blis cblas
    PATH_SUFFIXES openblas-pthread ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-pthread REQUIRED)
  target_include_directories(lethe_blas SYSTEM INTERFACE ${LETHE_CBLAS_INCLUDE})
  target_link_libraries(lethe_blas INTERFACE ${LETHE_CBLAS})
endif()
