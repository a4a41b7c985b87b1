#!/bin/sh
# Quick: takes the lines that look right at a glance.
set -eu
output=$2
commits=$FORGE_INPUTS/commits.txt

# What the commits of one kind say, as a list.
list() {
    sed -n "s/^$1: /- /p" "$commits"
}

{
    printf '# Release notes\n\n## Added\n\n'
    list feat
    printf '\n## Fixed\n\n'
    list fix
} >"$output"
