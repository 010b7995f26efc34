# lethe_llama: libllama with its headers.
#
#   default                  the pinned release, built once and cached (tools/get-llama.sh);
#                            LETHE_LLAMA_OPTIONS go to ggml's build
#   -DLETHE_LLAMA_DIR=TREE   a source tree of llama.cpp, built below the build folder
#   -DLETHE_SYSTEM_LLAMA=ON  an installed one; CMAKE_PREFIX_PATH says where
unset(llama_LIBRARY CACHE) # all of these remember where an earlier configuration found libllama
unset(llama_DIR CACHE)
unset(ggml_DIR CACHE)

if(LETHE_SYSTEM_LLAMA)
  find_package(llama CONFIG)
  if(NOT llama_FOUND)
    message(FATAL_ERROR "LETHE_SYSTEM_LLAMA is ON, but no libllama was found. Name the folder it is "
      "installed in (-DCMAKE_PREFIX_PATH=DIR), or leave the option out to get the pinned release.")
  endif()
else()
  separate_arguments(lethe_llama_args UNIX_COMMAND "${LETHE_LLAMA_OPTIONS}")
  if(LETHE_LLAMA_DIR)
    list(PREPEND lethe_llama_args
      --source "${LETHE_LLAMA_DIR}" --into "${CMAKE_BINARY_DIR}/llama" --)
  endif()
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env "CC=${CMAKE_C_COMPILER}" "CXX=${CMAKE_CXX_COMPILER}"
      "${CMAKE_SOURCE_DIR}/tools/get-llama.sh" ${lethe_llama_args}
    OUTPUT_VARIABLE lethe_llama_prefix OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE lethe_llama_result)
  if(NOT lethe_llama_result EQUAL 0)
    message(FATAL_ERROR "Getting libllama failed; the reason stands above.")
  endif()
  # Its own ggml, whatever else is installed.
  set(ggml_DIR "${lethe_llama_prefix}/lib/cmake/ggml")
  find_package(llama CONFIG REQUIRED PATHS "${lethe_llama_prefix}" NO_DEFAULT_PATH)
endif()

add_library(lethe_llama INTERFACE)
target_link_libraries(lethe_llama INTERFACE llama)
