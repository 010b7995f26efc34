# lethe_llama: libllama with its headers.
find_package(llama CONFIG REQUIRED)
add_library(lethe_llama INTERFACE)
target_link_libraries(lethe_llama INTERFACE llama)
