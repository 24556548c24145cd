#!/usr/bin/env bash
# A step of a CI job: passes while every encode keeps its limits, fails when the quality of one falls.
#
#   ci_gate.sh REFERENCE LIMIT[,LIMIT...] ENCODE...
#
#   ci_gate.sh ref.y4m psnr_y.p5=35,ssim_y=0.95 build/*.mp4
#
# A limit is KEY[.STAT]=X; METRICS=psnr,vmaf measures others than psnr,ssim. quality.json, with every frame, is there for
# the job to keep, whether it passes or not. Exits with vqmeter's code: 3 when a limit was crossed.
set -euo pipefail
usage="usage: ci_gate.sh REFERENCE LIMIT[,LIMIT...] ENCODE..."
reference=${1:?$usage}
limits=${2:?$usage}
shift 2
: "${1:?$usage}"

options=()
IFS=, read -ra words <<< "$limits"
for limit in "${words[@]}"; do
    options+=(--fail-under "$limit")
done
code=0
vqmeter fr "$reference" "$@" -m "${METRICS:-psnr,ssim}" "${options[@]}" -o quality.json -f table || code=$?
case $code in
    0) echo "quality is kept" ;;
    3) echo "quality fell: see the lines above, and quality.json for the frames" >&2 ;;
    *) echo "quality could not be measured" >&2 ;;
esac
exit "$code"
