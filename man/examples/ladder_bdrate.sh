#!/usr/bin/env bash
# How many bits does AV1 save against H.264 on this clip? Four encodes of each, one report a ladder, one table.
#
#   ladder_bdrate.sh CLIP [FOLDER]
#
# CLIP is whatever ffmpeg reads and knows its own size; encodes, reports and curves.svg go to FOLDER (default: ladder),
# and encodes that are there already are not made again. METRICS=psnr,vmaf chooses other metrics, FRAMES=250 cuts CLIP.
# Needs: pip install 'vqmeter[bdrate]', and an ffmpeg with libx264 and libsvtav1 or libaom-av1, which vqmeter[vmaf] brings.
set -euo pipefail
clip=${1:?usage: ladder_bdrate.sh CLIP [FOLDER]}
folder=${2:-ladder}
metrics=${METRICS:-psnr,ssim}
frames=${FRAMES:-100000}
ffmpeg=$(command -v ffmpeg || python3 -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')
export SVT_LOG=1 # errors only
mkdir -p "$folder"

encode() { # OUT OPTION...: written whole or not at all
    [ -e "$1" ] && return
    "$ffmpeg" -v error -nostdin -y -i "$clip" -map 0:v:0 -frames:v "$frames" "${@:2}" "$1.part.mp4"
    mv "$1.part.mp4" "$1"
}

case $("$ffmpeg" -hide_banner -encoders) in
    *libsvtav1*) av1=(-c:v libsvtav1 -preset 8) ;;
    *) av1=(-c:v libaom-av1 -cpu-used 6 -b:v 0) ;;
esac
for crf in 20 26 32 38; do
    encode "$folder/x264_$crf.mp4" -c:v libx264 -preset medium -crf "$crf"
done
for crf in 30 40 50 60; do
    encode "$folder/av1_$crf.mp4" "${av1[@]}" -crf "$crf"
done
for codec in x264 av1; do
    vqmeter fr -q "$clip" "$folder/$codec"_*.mp4 --frames "$frames" -m "$metrics" -o "$folder/$codec.json"
done
vqmeter bdrate "$folder/x264.json" "$folder/av1.json" -f table -o "$folder/curves.svg"
