/* SPDX-License-Identifier: MIT
 *
 * The table that cmake/web.cmake makes.
 */
#ifndef LETHE_FRONT_WEB_ASSETS_PARTS_H
#define LETHE_FRONT_WEB_ASSETS_PARTS_H

#include "front/web/assets.h"

extern const lethe_web_asset lethe_web_assets[]; /* ends with one whose path is NULL */

#endif
