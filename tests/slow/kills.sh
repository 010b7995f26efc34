#!/usr/bin/env bash
# Ten kills at random moments, with a store and streamed: the same bytes as an undisturbed run.
KILLS=10 TOKENS=40000 EPOCHS=16 exec bash "$(dirname "$0")/../cli/resume.sh"
