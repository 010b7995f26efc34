# The report's style and script as C strings, with the SHA-256 in base64 that the page's policy
# names them by. Run as a script: cmake -DIN=report -DOUT=report_assets.c -P report.cmake
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(report_in ${CMAKE_SOURCE_DIR}/src/stage/report)
  set(report_c ${CMAKE_BINARY_DIR}/report_assets.c)
  add_custom_command(OUTPUT ${report_c}
    COMMAND ${CMAKE_COMMAND} -DIN=${report_in} -DOUT=${report_c} -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${report_in}/report.css ${report_in}/report.js ${CMAKE_CURRENT_LIST_FILE}
      ${CMAKE_CURRENT_LIST_DIR}/bytes.cmake)
  list(APPEND LETHE_LIB_SOURCES ${report_c})
  return()
endif()
include(${CMAKE_CURRENT_LIST_DIR}/bytes.cmake)

# 64 hex digits -> base64, three bytes (four digits of base64) at a time.
function(base64_of_hex hex out)
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(text "")
  set(padded "${hex}00") # 33 bytes
  foreach(i RANGE 0 60 6)
    string(SUBSTRING "${padded}" ${i} 6 three)
    math(EXPR n "0x${three}")
    foreach(shift 18 12 6 0)
      math(EXPR digit "(${n} >> ${shift}) & 63")
      string(SUBSTRING "${alphabet}" ${digit} 1 c)
      string(APPEND text "${c}")
    endforeach()
  endforeach()
  string(LENGTH "${text}" n)
  math(EXPR n "${n} - 1")
  string(SUBSTRING "${text}" 0 ${n} text)
  set(${out} "${text}=" PARENT_SCOPE)
endfunction()

set(c "/* Made from src/stage/report/ by cmake/report.cmake. */\n#include \"stage/report_parts.h\"\n")
foreach(kind css js)
  bytes_of(${IN}/report.${kind} bytes)
  file(SHA256 ${IN}/report.${kind} sha)
  base64_of_hex(${sha} sha)
  string(APPEND c "const char lethe_report_${kind}[] = {\n${bytes}0};\n"
    "const char lethe_report_${kind}_sha256[] = \"${sha}\";\n")
endforeach()
file(WRITE ${OUT} "${c}")
