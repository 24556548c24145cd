#!/bin/sh
# Trains what is in the box: sh weights/recipes/train.sh MATERIAL OUT
# MATERIAL was made by material.py; its column 'part' keeps contents apart, and the part held-out is never read here.
# On two cores of an AMD EPYC everything together takes about three and a half hours. Each command goes on where it was broken off.
set -e
material=$1 out=$2
common="--label vmaf --splits column:part --precision bf16 --threads 1"
train() { name=$1 spec=$2; shift 2; vqmeter train "$spec" "$material/table.csv" $common -o "$out/$name.safetensors" "$@"; }

train vsfa vsfa:backbone=resnet18:scratch=true:width=0.5:stages=2:end_to_end=true:crop=160:features=16 --epochs 32
# RankIQA learns labels first, then goes on with pictures of 19 types of distortion whose order it learns beside them.
train rankiqa_labels rankiqa:network=vgg16-pool:width=0.125:scratch=true:stage=joint:crop=128:frames=6 --epochs 24
python3 "$(dirname "$0")/stills.py" "$material" train "$out/stills"
vqmeter distort "$out/stills" "$out/ladders"
train rankiqa "rankiqa:network=vgg16-pool:width=0.125:stage=joint:crop=128:frames=6:ladders=$out/ladders:beside=3" \
  --init "$out/rankiqa_labels.safetensors" --epochs 14
train cnn3d_lstm cnn3d_lstm:preset=stats:hidden=128-64:crop=96:clips=2:groups=4:columns=2:rows=2:videos=160:lstm_epochs=40 --epochs 8
train c3d c3d:scratch=true:view=crops:width=0.125:layer=blocks:hidden=64:detail=true:rounds=4 --epochs 20
train dipqa dipqa:size=pooled:patch=64:scratch=true:width=0.25:fusion=absolute:variants=6:patches=8:loss=l1 --epochs 10 --batch 96 --rate 1e-3
train diqam diqam:width=0.5:fusion=absolute:variants=6:patches=8 --epochs 12 --batch 96 --rate 1e-3
train niqe niqe
train brisque brisque:frames=2:every=2
train c3d_fr c3d_fr:scratch=true:view=crops:width=0.125:fc_rank=32:rounds=4 --epochs 2 --precision fp32
# Of coded files alone: a list with the rows of codecs and mixtures.
python3 - "$material" <<'END'
import csv, sys
rows = list(csv.DictReader(open(f"{sys.argv[1]}/table.csv")))
with open(f"{sys.argv[1]}/coded.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(row for row in rows if row["type"] in ("x264", "x265", "av1", "vp9", "mixed"))
END
vqmeter train hybrid "$material/coded.csv" --label vmaf --splits column:part --threads 1 -o "$out/hybrid.safetensors"
