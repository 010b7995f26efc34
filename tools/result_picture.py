#!/usr/bin/env python3
"""Draws docs/result.svg from a run's eval.json: recall of each domain before and after.

    tools/result_picture.py runs/demo/eval.json docs/result.svg
"""
import json
import sys

NAMES = {"hp": "Harry Potter", "fantasy": "other fantasy", "magic": "generic magic",
         "real_world": "real world"}
WIDTH, LEFT, RIGHT, ROW, TOP = 760, 150, 60, 58, 64
BEFORE, AFTER, TEXT, GRID = "#9aa5b1", "#d9622b", "#333333", "#e3e3e3"


def bar(x, y, share, colour, label):
    w = share * (WIDTH - LEFT - RIGHT)
    return (f'<rect x="{x}" y="{y}" width="{max(w, 1):.1f}" height="18" rx="2" fill="{colour}"/>'
            f'<text x="{x + w + 6:.1f}" y="{y + 14}" class="n">{label}</text>')


def main():
    source, target = sys.argv[1:]
    e = json.load(open(source))
    before, after = (e["metrics"][side]["recall"] for side in ("baseline", "ablated"))
    ppl = [e["metrics"][side].get("perplexity") for side in ("baseline", "ablated")]
    height = TOP + ROW * len(before) + 44
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           f'font-family="Helvetica, Arial, sans-serif" font-size="14" fill="{TEXT}">',
           "<style>.n{font-size:12px} .t{font-size:16px;font-weight:bold}</style>",
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           '<text x="16" y="26" class="t">Held-out questions answered right</text>',
           f'<rect x="{WIDTH - 300}" y="14" width="14" height="14" fill="{BEFORE}"/>'
           f'<text x="{WIDTH - 280}" y="26">as it is</text>'
           f'<rect x="{WIDTH - 200}" y="14" width="14" height="14" fill="{AFTER}"/>'
           f'<text x="{WIDTH - 180}" y="26">Harry Potter removed</text>']
    for tick in range(0, 101, 25):
        x = LEFT + tick / 100 * (WIDTH - LEFT - RIGHT)
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 14}" x2="{x:.1f}" y2="{height - 40}" stroke="{GRID}"/>'
                   f'<text x="{x:.1f}" y="{TOP - 18}" class="n" text-anchor="middle">{tick} %</text>')
    order = [d for d in NAMES if d in before] + [d for d in before if d not in NAMES]
    for i, domain in enumerate(order):
        y = TOP + i * ROW
        out.append(f'<text x="{LEFT - 12}" y="{y + 26}" text-anchor="end">{NAMES.get(domain, domain)}</text>')
        out.append(bar(LEFT, y, before[domain], BEFORE, f"{100 * before[domain]:.1f}"))
        out.append(bar(LEFT, y + 21, after[domain], AFTER, f"{100 * after[domain]:.1f}"))
    if ppl[0] and ppl[1]:
        out.append(f'<text x="{LEFT}" y="{height - 14}" class="n">perplexity of held-out ordinary text: '
                   f'{ppl[0]:.2f} before, {ppl[1]:.2f} after ({100 * (ppl[1] / ppl[0] - 1):+.1f} %)</text>')
    out.append("</svg>")
    open(target, "w").write("\n".join(out) + "\n")


main()
