#!/usr/bin/env bash
# Every clip below a folder scored without a reference: a CSV on standard output, the lowest score first.
#
#   nr_library_scan.sh FOLDER [MODEL] > library.csv
#
# MODEL is vsfa unless said; of niqe and brisque, where lower is better, the best come first. A clip that cannot be read
# has the score nan and a line on standard error; the others are still there, and the exit code is vqmeter's.
set -euo pipefail
folder=${1:?usage: nr_library_scan.sh FOLDER [MODEL]}
model=${2:-vsfa}

clips=()
while IFS= read -r -d '' clip; do
    clips+=("$clip")
done < <(find "$folder" -type f \( -iname '*.mp4' -o -iname '*.mkv' -o -iname '*.mov' -o -iname '*.webm' -o -iname '*.avi' \
    -o -iname '*.ts' -o -iname '*.y4m' \) -print0)
if [ ${#clips[@]} -eq 0 ]; then
    echo "$folder: no clips in it" >&2
    exit 4
fi

code=0
scores=$(vqmeter nr -q "${clips[@]}" --model "$model" --score "$model") || code=$?
[ -n "$scores" ] || exit "$code"
echo "$model,file"
paste -d , <(printf '%s\n' "$scores") <(for clip in "${clips[@]}"; do printf '"%s"\n' "${clip//\"/\"\"}"; done) | sort -g
exit "$code"
