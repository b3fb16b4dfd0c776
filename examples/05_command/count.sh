#!/bin/sh
# What it prints is its log; result.json is its result, and any other file in its folder is an output.
word=$1 times=$2
text=""
while [ "$times" -gt 0 ]; do
  text="$text$word "
  times=$((times - 1))
done
echo "$text"
printf '{"text": "%s", "characters": %d}\n' "$text" "${#text}" > result.json
