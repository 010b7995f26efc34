#!/usr/bin/env bash
# Command line: help, versions, wrong usage.
. "$(dirname "$0")/lib.sh"

run "$LETHE"
check "no command: status 2" [ "$status" -eq 2 ]
check "no command: shows the commands" grep -q "lethe forget" err
ok "$LETHE" --version
check "version names all" grep -qE '^lethe [0-9.]+, libllama .*, instruction set [a-z0-9]+$' out
ok env LETHE_CPU=ref "$LETHE" --version
check "LETHE_CPU is obeyed" grep -q 'instruction set ref$' out
expect 2 "instruction set \"mmx\" is not there" "$LETHE" eval --cpu mmx
expect 2 "have: ref" env LETHE_CPU=mmx "$LETHE" eval
ok "$LETHE" --help
check "help lists every command" grep -q "lethe encode" out
check "help goes to standard output" [ ! -s err ]

for command in forget harvest train features eval judge encode convert patch bench report inspect chat serve pull push; do
    ok "$LETHE" $command --help
    check "$command --help shows usage" grep -q "^usage: lethe $command" out
    check "$command --help shows an example" grep -q "^  lethe $command" out
    check "$command --help shows exit status" grep -q "Exit status" out
    ok "$LETHE" help $command
    expect 2 "unknown option --nonsense-zz" "$LETHE" $command --nonsense-zz
done
ok "$LETHE" train --help
for option in model layer hook expansion k epochs batch-size lr ctx-len max-tokens max-steps clip \
    no-forget seed threads resume recipe; do
    check "train --help has --$option" grep -q -- "--$option " out
done
check "defaults are shown" grep -q "\[default: 1024\]" out
ok "$LETHE" eval --help
check "eval --help has --scale" grep -q -- "--scale X" out

expect 2 "unknown command" "$LETHE" forgett
expect 2 "did you mean --epochs?" "$LETHE" train --epoch 3
expect 2 "--epochs needs a value" "$LETHE" train --epochs
expect 2 "--epochs needs a value" "$LETHE" train --epochs --quiet
expect 2 "want a whole number" "$LETHE" train --epochs three
expect 2 "want a number" "$LETHE" train --lr fast
expect 2 "want at least 1" "$LETHE" train --epochs 0 --out r
expect 2 "stray word" "$LETHE" train novels
expect 2 "is not an option of \"lethe encode\"" "$LETHE" encode --probes x
expect 2 "want one of: default, reference" "$LETHE" train --recipe best --out r
expect 2 "want one of: off, bf16, f32" "$LETHE" train --store f64 --out r
expect 2 "want pre or post" "$LETHE" train --hook mid --out r
expect 2 "want ratio, score, diff, act-ratio or random" "$LETHE" features --sort-by size --out r
expect 2 "pass one of" "$LETHE" harvest --model "$model" --out a.safetensors
expect 2 "encode needs" "$LETHE" encode
expect 2 "no model given" "$LETHE" harvest --text x --out a.safetensors

# '_' and '-' are the same, and the reference experiment's names work.
expect 2 "unknown option --x" "$LETHE" train --layer 15 --epochs 5 --batch_size 128 --expansion_factor 8 --k 32 --x
expect 2 "unknown option --x" "$LETHE" features --num_features 100 --sort_by score --x
expect 2 "unknown option --x" "$LETHE" eval --ablation_scale -3.0 --x
expect 2 "unknown option --x" "$LETHE" eval --ablation_scale=-3.0 --x
finish
