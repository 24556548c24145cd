#!/usr/bin/env bash
# The smallest H.264 file whose score stays over a limit: bisection over x264's CRF, six or so encodes.
#
#   crf_search.sh CLIP LIMIT [KEY.STAT] [METRIC]
#
#   crf_search.sh clip.y4m 38                        the worst twentieth of the frames has 38 dB or more (psnr_y.p5)
#   crf_search.sh clip.y4m 92 vmaf.p5 vmaf           the same of VMAF
#
# Leaves best.mp4 in the current folder and prints its CRF, its score and its size in bytes.
set -euo pipefail
clip=${1:?usage: crf_search.sh CLIP LIMIT [KEY.STAT] [METRIC]}
limit=${2:?usage: crf_search.sh CLIP LIMIT [KEY.STAT] [METRIC]}
key=${3:-psnr_y.p5}
metric=${4:-psnr}
ffmpeg=$(command -v ffmpeg || python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

good_enough() { # CRF: is it? Ends the search where it cannot be said
    local code=0
    "$ffmpeg" -v error -nostdin -y -i "$clip" -map 0:v:0 -c:v libx264 -preset medium -crf "$1" "$work/$1.mp4"
    score=$(vqmeter fr -q "$clip" "$work/$1.mp4" -m "$metric" --score "$key" --fail-under "$key=$limit") || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
    return "$code"
}

low=12 high=44 # low is good enough, high is taken not to be
good_enough "$low" || { echo "even CRF $low has $key $score only" >&2; exit 3; }
best=$score
while [ $((high - low)) -gt 1 ]; do
    crf=$(((low + high) / 2))
    if good_enough "$crf"; then low=$crf best=$score; else high=$crf; fi
done
mv "$work/$low.mp4" best.mp4
echo "crf $low $key $best bytes $(wc -c < best.mp4 | tr -d ' ')"
