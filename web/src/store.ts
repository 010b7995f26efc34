// SPDX-License-Identifier: MIT
// What is asked of the server once, and shared by the views.
import * as api from './api';

let known: Promise<api.Feature[]> | undefined;
const byNumber = new Map<string, api.Feature>();

// All removed features; a failure is forgotten, so that the next call tries again.
export function features(): Promise<api.Feature[]> {
  known ??= api.features().then((all) => {
    for (const f of all) byNumber.set(`${f.removal}/${f.feature}`, f);
    return all;
  });
  known.catch(() => { known = undefined; });
  return known;
}

// What is known of a feature now.
export const feature = (fired: api.Fired) => byNumber.get(`${fired.removal}/${fired.feature}`);
