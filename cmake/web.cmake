# The page's files (web/dist/) as C arrays with their types and tags. Run as a script:
# cmake -DIN=web/dist -DOUT=web_assets.c -P web.cmake
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(web_in ${CMAKE_SOURCE_DIR}/web/dist)
  set(web_c ${CMAKE_BINARY_DIR}/web_assets.c)
  file(GLOB web_files CONFIGURE_DEPENDS ${web_in}/*)
  add_custom_command(OUTPUT ${web_c}
    COMMAND ${CMAKE_COMMAND} -DIN=${web_in} -DOUT=${web_c} -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${web_files} ${CMAKE_CURRENT_LIST_FILE} ${CMAKE_CURRENT_LIST_DIR}/bytes.cmake)
  return()
endif()
include(${CMAKE_CURRENT_LIST_DIR}/bytes.cmake)

set(type_html "text/html; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_svg "image/svg+xml")

set(data "")
set(table "")
file(GLOB files RELATIVE ${IN} ${IN}/*)
foreach(name ${files})
  string(REGEX REPLACE ".*\\." "" ending "${name}")
  if(NOT DEFINED type_${ending})
    message(FATAL_ERROR "${IN}/${name}: no type is known for .${ending} (cmake/web.cmake)")
  endif()
  string(MAKE_C_IDENTIFIER "${name}" id)
  bytes_of(${IN}/${name} bytes)
  file(SHA256 ${IN}/${name} sha)
  string(SUBSTRING ${sha} 0 24 sha)
  string(APPEND data "static const unsigned char ${id}[] = {\n${bytes}};\n")
  string(APPEND table "    {\"/${name}\", ${id}, sizeof ${id}, \"${type_${ending}}\", \"\\\"${sha}\\\"\"},\n")
endforeach()
file(WRITE ${OUT} "/* Made from web/dist/ by cmake/web.cmake. */
#include \"front/web/assets_parts.h\"
${data}const lethe_web_asset lethe_web_assets[] = {
${table}    {0}};\n")
