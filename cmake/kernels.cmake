# Which instruction-set files of src/kernel belong to this processor family, and their flags.
list(FILTER LETHE_LIB_SOURCES EXCLUDE REGEX "src/kernel/kernel_(avx|neon|sets_)")
set(kernel ${CMAKE_SOURCE_DIR}/src/kernel)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  list(APPEND LETHE_LIB_SOURCES ${kernel}/kernel_sets_x86.c ${kernel}/kernel_avx2.c
    ${kernel}/kernel_avx512.c ${kernel}/kernel_avx512vnni.c)
  set_source_files_properties(${kernel}/kernel_avx2.c PROPERTIES COMPILE_OPTIONS "-mavx2")
  set_source_files_properties(${kernel}/kernel_avx512.c PROPERTIES COMPILE_OPTIONS "${avx512}")
  set_source_files_properties(${kernel}/kernel_avx512vnni.c PROPERTIES
    COMPILE_OPTIONS "${avx512};-mavx512vnni")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  list(APPEND LETHE_LIB_SOURCES ${kernel}/kernel_sets_arm.c ${kernel}/kernel_neon.c
    ${kernel}/kernel_neondot.c)
  set_source_files_properties(${kernel}/kernel_neondot.c PROPERTIES
    COMPILE_OPTIONS "-march=armv8.2-a+dotprod")
else()
  list(APPEND LETHE_LIB_SOURCES ${kernel}/kernel_sets_none.c)
endif()
