#!/bin/sh
# Alpha: fast and shallow. Reads the input line by line with awk, and believes what it reads.
set -eu

prompt=$1
output=$2
inputs=${FORGE_INPUTS:-inputs}

# The path of an input file, or nothing.
input() {
    find "$inputs" -name "$1" 2>/dev/null || :
}

# Lines of time, venue, link and title, parted by tabs: one an event that looks right at a glance.
events() {
    awk -v first="$1" -v last="$2" '
        /": "/ {
            key = $0; sub(/^ *"/, "", key); sub(/": .*/, "", key)
            value = $0; sub(/^[^:]*: "/, "", value); sub(/",?$/, "", value)
            event[key] = value
        }
        /^  }/ {
            day = substr(event["start"], 1, 10)
            if (event["title"] != "" && event["url"] ~ /^https?:/ && event["city"] ~ /San Francisco/ &&
                day >= first && day <= last && !seen[event["title"]]++)
                print day " " substr(event["start"], 12, 5) "\t" event["venue"] "\t" event["url"] "\t" event["title"]
            split("", event)
        }
    ' "$3" | sort
}

# The weekly post. The first two dates of the prompt are the week.
post() {
    week=$(printf '%s\n' "$prompt" | awk '
        { while (match($0, /[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]/)) {
            print substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH) } }')
    first=$(printf '%s\n' "$week" | sed -n 1p)
    last=$(printf '%s\n' "$week" | sed -n 2p)
    printf '# AI Events in San Francisco\n%s to %s\n' "$first" "$last"
    events "$first" "$last" "$1" | awk -F '\t' '{ printf "\n**%s**\n%s, %s\n%s\n", $4, $1, $2, $3 }'
}

# The log report: every line with ERROR in it is an error, every run of digits a number.
report() {
    awk '
        /^20/ { records++; levels[$2]++ }
        /ERROR|FATAL/ && /^20/ {
            message = $0; sub(/^[^]]*\] /, "", message); gsub(/[0-9]+/, "<n>", message)
            component = $3; gsub(/[^a-z]/, "", component)
            if (!(message in count)) { order[++errors] = message; from[message] = $1; where[message] = component }
            count[message]++; to[message] = $1
        }
        END {
            printf "{\n  \"records\": %d,\n  \"levels\": {", records
            names = split("DEBUG ERROR FATAL INFO WARN", name, " ")
            for (i = 1; i <= names; i++)
                if (levels[name[i]]) { printf "%s\n    \"%s\": %d", comma, name[i], levels[name[i]]; comma = "," }
            printf "\n  },\n  \"errors\": ["
            for (i = 1; i <= errors; i++) {
                message = order[i]
                printf "%s\n    {\n      \"signature\": \"%s\",\n", (i > 1 ? "," : ""), message
                printf "      \"component\": \"%s\",\n      \"level\": \"ERROR\",\n", where[message]
                printf "      \"count\": %d,\n      \"first\": \"%s\",\n", count[message], from[message]
                printf "      \"last\": \"%s\"\n    }", to[message]
            }
            print "\n  ]\n}"
        }
    ' "$1"
}

events=$(input events.json)
log=$(input server.log)
if [ -n "$events" ]; then
    post "$events" >"$output"
elif [ -n "$log" ]; then
    report "$log" >"$output"
else
    printf '# Answer\n\n%s\n' "$prompt" >"$output"
fi
printf '{"lines": %d}\n' "$(wc -l <"$output")" >"$FORGE_ARTIFACTS/metrics.json"
echo "alpha: done"
