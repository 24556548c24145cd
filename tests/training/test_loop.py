"""The training loop: it learns, stops early, and ends with the same weights however often it was killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from vqmeter.errors import DeviceError, UsageError, WeightsError
from vqmeter.metric import Context
from vqmeter.training.loop import Plan, Task, fit, shuffled
from vqmeter.training.run import Run, digest, seed_of


class Line(Task):
    """y = 3 x - 1 with dropout, so that every step draws random numbers."""

    def __init__(self, seed=0, figures=None):
        torch.manual_seed(seed)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.x = torch.from_numpy(np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32))
        self.y = 3 * self.x[:, :1] - 1
        self.figures = figures

    def batches(self, epoch, rng):
        return shuffled(40, 8, rng)

    def loss(self, batch, rng):
        noise = torch.from_numpy(rng.normal(size=(len(batch), 4)).astype(np.float32)) * 0.01
        return (self.module(self.x[batch] + noise) - self.y[batch]).square().mean()

    def validate(self):
        if self.figures is not None:
            return {"srocc": self.figures.pop(0)}
        return {"srocc": -float((self.module(self.x) - self.y).square().mean())}


PLAN = Plan(6, 0.01, "adam", average=0.9)


def trained(folder, plan=PLAN, task=None, **run):
    task = task or Line()
    history = fit("line", task, plan, Run(folder, **run))
    return task.module.state_dict(), history


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns_and_logs(tmp_path):
    _, history = trained(tmp_path, Plan(40, 0.02))
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 41)) and {row["stage"] for row in rows} == {"line"}


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path):
    kept = {}

    class Noted(Line):
        def validate(self):
            kept[len(kept)] = {key: value.clone() for key, value in self.module.state_dict().items()}
            return super().validate()

    state, history = trained(tmp_path, Plan(20, 0.01, patience=3), Noted(figures=[0.1, 0.5, 0.4, 0.5, 0.3, 0.9]))
    assert len(history) == 5  # three epochs after the second brought nothing better
    assert same(state, kept[1])


@pytest.mark.parametrize("killed_at", [1, 7, 15, 29])
def test_broken_off_and_begun_again_gives_the_same_bits(tmp_path, killed_at):
    whole, history = trained(tmp_path / "whole")

    def tell(what, done, total):
        if done == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", tell=tell, keep_every=0.0)
    again, second = trained(tmp_path / "broken")
    assert same(whole, again)
    assert [row["loss"] for row in history] == [row["loss"] for row in second]


def test_kill_9_at_any_moment(tmp_path):
    script = textwrap.dedent(f"""
        import sys, time; sys.path.insert(0, {os.path.dirname(__file__)!r})
        import torch; torch.set_num_threads(1)
        from pathlib import Path
        from test_loop import Line, Plan, Run, fit
        class Slow(Line):
            def loss(self, batch, rng):
                time.sleep(0.004)
                return super().loss(batch, rng)
        task = Slow()
        print("begun", flush=True)
        fit("line", task, Plan(30, 0.01, average=0.9), Run(Path(sys.argv[1]), keep_every=0.02))
        torch.save(task.module.state_dict(), sys.argv[2])
    """)
    (tmp_path / "script.py").write_text(script)

    def go(folder, after=None):
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / folder), str(tmp_path / f"{folder}.pt")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
        return process.returncode

    assert go("whole") == 0
    for after in (0.2, 0.35):
        assert go("killed", after) in (0, -signal.SIGKILL)
    assert go("killed") == 0
    a, b = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "killed"))
    assert same(a, b)


def test_a_finished_stage_is_not_trained_again(tmp_path):
    first, _ = trained(tmp_path)

    class Never(Line):
        def loss(self, batch, rng):
            raise AssertionError("trained again")

    again, _ = trained(tmp_path, task=Never())
    assert same(first, again)


def test_seeds_matter_and_nothing_else_does(tmp_path):
    a, _ = trained(tmp_path / "a")
    torch.manual_seed(99)
    np.random.default_rng(5)
    b, _ = trained(tmp_path / "b")
    c, _ = trained(tmp_path / "c", context=Context(seed=1))
    assert same(a, b) and not same(a, c)


def test_the_rate_falls_as_planned():
    plan = Plan(10, 1.0, every=2, factor=0.8)
    assert [plan.scale(0, epoch, 0) for epoch in (0, 1, 2, 5)] == pytest.approx([1, 1, 0.8, 0.64])
    assert [Plan(1, 1.0, cosine=True).scale(step, 0, 100) for step in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    assert Plan(1, 1.0, warm=10).scale(4, 0, 100) == pytest.approx(0.5)


def test_bf16_trains(tmp_path):
    _, history = trained(tmp_path, Plan(30, 0.02), context=Context(precision="bf16"))
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(DeviceError, match="--rate"):
        trained(tmp_path, Plan(60, 1e18, "sgd"))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    trained(tmp_path)
    task = Line()
    task.module = nn.Linear(4, 1)
    with pytest.raises(WeightsError, match="--restart"):
        fit("line", task, PLAN, Run(tmp_path))
    (tmp_path / "line.ckpt").write_bytes(b"not torch's")
    with pytest.raises(WeightsError, match="--restart"):
        trained(tmp_path)


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    run = Run(tmp_path / "work")
    run.open({"recipe": "a", "rate": 1})
    run.open({"recipe": "a", "rate": 1})
    with pytest.raises(UsageError, match="rate was 1, now 2"):
        run.open({"recipe": "a", "rate": 2})
    (tmp_path / "work" / "x.ckpt").touch()
    run.open({"recipe": "a", "rate": 2}, restart=True)
    assert not (tmp_path / "work" / "x.ckpt").exists()


def test_arrays_are_made_once_and_shared_beneath(tmp_path):
    run = Run(tmp_path)
    run.open({})
    made = []

    def make():
        made.append(1)
        return np.arange(5)

    for where in (run, run, run.inside("row-0")):
        assert where.array("features", {"of": "x"}, make).tolist() == [0, 1, 2, 3, 4]
    run.array("features", {"of": "y"}, make)
    assert len(made) == 2


def test_each_keeps_order_and_passes_errors_on(tmp_path):
    run = Run(tmp_path, Context(threads=3))
    assert run.each("squares", [1, 2, 3, 4], lambda n: n * n) == [1, 4, 9, 16]
    with pytest.raises(ZeroDivisionError):
        run.each("inverses", [1, 0], lambda n: 1 / n)


def test_batches_cover_everything_and_no_batch_norm_sees_one():
    for count, size in ((17, 8), (16, 8), (1, 8), (9, 4)):
        parts = shuffled(count, size, np.random.default_rng(0))
        assert sorted(n for part in parts for n in part) == list(range(count))
        assert len(parts) == 1 or all(len(part) > 1 for part in parts)


def test_seeds_are_the_same_everywhere():
    assert seed_of(0, "line", "step", 3) == seed_of(0, "line", "step", 3) != seed_of(0, "line", "step", 4)
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
