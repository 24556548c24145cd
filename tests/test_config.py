"""Defaults from vqmeter.toml: which file, what wins, what is refused, and what it costs."""

import os
import subprocess
import sys

import click
import platformdirs
import pytest

from vqmeter.cli import COMMANDS, command, config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, and an empty one for the user's configuration."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("VQMETER_CONFIG", raising=False)
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    return here


@pytest.fixture
def write(folder):
    """Writes vqmeter.toml into the current folder, or another file."""

    def to(text, path=folder / "vqmeter.toml"):
        path.write_text(text, "utf-8")
        return path

    return to


@pytest.fixture
def own(folder):
    return folder.parent / "own" / "vqmeter.toml"


PSNR = '[fr]\nmetric = "psnr"\nscore = "psnr_y"\n'
SSIM = '[fr]\nmetric = ["psnr", "ssim"]\nscore = "ssim_y"\n'


def score(cli, pair, *words, before=()):
    code, out, err = cli(*before, "fr", "-q", *pair, *words)
    assert code == 0, err
    return float(out)


def test_a_file_gives_defaults_and_the_command_line_wins(cli, raw_pair, write):
    pair = raw_pair()
    psnr, ssim = (score(cli, pair, "--score", key) for key in ("psnr_y", "ssim_y"))
    assert psnr > 10 > 1 > ssim
    write('[fr]\nscore = "psnr_y"\nframes = 5\nplanes = "yuv"\n')
    assert score(cli, pair) == psnr and score(cli, pair, "--score", "ssim_y") == ssim
    write('[fr]\nframes = 1\nscore = "psnr_y"')
    assert score(cli, pair) != psnr and score(cli, pair, "--frames", "5") == psnr
    write('[fr]\nscore = "psnr_y"\n[nr]\nbogus = 1\n')
    assert score(cli, pair) == psnr


def test_which_file_is_read(cli, raw_pair, write, own, monkeypatch):
    """--config, VQMETER_CONFIG, the current folder, the user's: the first alone; none with --no-config."""
    pair = raw_pair()
    write("[fr]\nframes = 1\n" + PSNR[5:], own)
    of_user = score(cli, pair)
    write(PSNR)
    of_folder = score(cli, pair)
    named = write(SSIM, own.parent / "named.toml")
    of_named = score(cli, pair, before=("--config", named))
    assert len({of_user, of_folder, of_named}) == 3
    monkeypatch.setenv("VQMETER_CONFIG", str(named))
    assert score(cli, pair) == of_named and score(cli, pair, before=("--config", own)) == of_user
    code, out, _ = cli("--no-config", "fr", "-q", *pair)
    assert code == 0 and "psnr_y" in out
    assert cli("--no-config", "--config", own, "fr", *pair)[0] == 2


def test_a_file_that_was_not_named_is_said_with_v_alone(cli, raw_pair, write, own):
    pair = [*raw_pair(), "-s", "64x48"]
    path = write(PSNR)
    assert cli("fr", *pair)[2] == ""
    assert "vqmeter: options of [fr] in vqmeter.toml\n" in cli("fr", "-v", *pair)[2]
    assert "options of" not in cli("--config", path, "fr", "-v", *pair)[2]
    write(PSNR + "verbose = true\n")
    assert "options of [fr]" in cli("fr", *pair)[2]
    path.rename(own)
    assert f"options of [fr] in {own}" in cli("fr", "-v", *pair)[2]
    write("[nr]\nseed = 1\n")
    assert "options of" not in cli("fr", "-v", *pair)[2]


@pytest.mark.parametrize(("text", "says"), [
    ("[fr]\nmetrik = 'psnr'", "vqmeter.toml: [fr] has no option 'metrik' (did you mean metric"),
    ("[frr]\n", "vqmeter.toml: no command 'frr' (did you mean fr?)"),
    ("threads = 2", "vqmeter.toml: no command 'threads'; options stand in a command's table, as [fr]"),
    ("fr = 2", "vqmeter.toml: fr is a command; its options stand in a table, [fr]"),
    ("[fr]\nref = 'a.mp4'", "[fr] has no option 'ref' (known: batch, cache"),
    ("[fr]\nhelp = true", "[fr] has no option 'help'"),
    ("[compat.vmaf]\njson = true", "[compat]: compat takes no defaults from a file"),
    ("[fr]\nthreads = 'two'", "vqmeter.toml: [fr] threads: 'two' is not a valid integer"),
    ("[fr]\nthreads = 1.5", "[fr] threads: '1.5' is not a valid integer"),
    ("[fr]\nthreads = true", "[fr] threads: is text or a number, not true"),
    ("[fr]\nthreads = [1]", "[fr] threads: is text or a number, not a list"),
    ("[fr]\nmetric = {psnr = 1}", "[fr] metric: is text, a number or a list of these, not a table"),
    ("[fr]\nmetric = ['psnr', 2026-01-01]", "not a date or a time"),
    ("[fr]\nshortest = 'yes'", "[fr] shortest: is true or false, not \"yes\""),
    ("[fr]\nplanes = 'rgb'", "[fr] planes: 'rgb' is not one of 'y', 'yuv'"),
    ("[fr]\nsize = '64by48'", "[fr] size: a size is WIDTHxHEIGHT"),
    ("[fr]\nfail_under = ['psnr_y']", "[fr] fail_under: 'psnr_y' is not KEY[.STAT]=NUMBER"),
    ("[fr]\npix_fmt = 'gray'\npix-fmt = 'gray'", "[fr] pix-fmt: is given twice"),
    ("[fr]\nplanes = y", "vqmeter.toml: line 2, column 10: is not TOML: invalid value"),
    ("[fr]\n\nplanes = 'y", "is not TOML"),
])  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_file_and_key(cli, raw_pair, write, text, says):
    write(text)
    code, out, err = cli("fr", *raw_pair())
    assert code == 2 and out == "" and err.count("\n") == 1 and "vqmeter.toml" in err and says in err, err
    assert cli("fr", "--help")[0] == 0


def test_tables_of_commands_below_commands(cli, write, own):
    write("[weights.list]\njson = true\n", own)
    assert cli("weights", "list")[1].startswith("[")
    for text, says in (("[weights]\npull = 3", "weights pull is a command; its options stand in a table, [weights.pull]"),
                       ("[weights.pul]\n", "weights has no command 'pul' (did you mean pull?)")):  # fmt: skip
        write(text, own)
        code, _, err = cli("weights", "list")
        assert code == 2 and says in err


def test_a_file_that_cannot_be_read(cli, folder, raw_pair):
    code, _, err = cli("--config", "none.toml", "fr", *raw_pair())
    assert code == 4 and err == "vqmeter: none.toml: no such file or directory\n"
    (folder / "bytes.toml").write_bytes(b"\xff\n")
    code, _, err = cli("--config", "bytes.toml", "fr", *raw_pair())
    assert code == 2 and err == "vqmeter: bytes.toml: is not TOML: not UTF-8 text\n"


@pytest.mark.parametrize(("name", "key", "value"), [
    ("fr", "output", '"stolen.json"'), ("fr", "o", '"stolen.json"'), ("fr", "map", '"maps"'), ("fr", "worst", "1"),
    ("fr", "worst-dir", '"w"'), ("fr", "weights", '"/tmp/x"'), ("fr", "input-format", '"hls"'),
    ("fr", "ref_input_format", '"concat"'), ("fr", "max_pixels", "1000000000"), ("fr", "metric", '"psnr:weights=/x"'),
    ("fr", "model", '["none", "none:as=b:weights = x"]'), ("distort", "overwrite", "true"), ("train", "output", '"x"'),
    ("eval", "scores-out", '"x"'), ("eval", "plot", '"x"'), ("weights.pull", "force", "true"),
    ("weights.import", "output", '"x"'),
])  # fmt: skip
def test_a_file_in_the_current_folder_cannot_write_fetch_or_load(cli, write, folder, own, name, key, value):
    """Such a key is refused there, and taken from a file that was named or is the user's own."""
    command, _, below = name.partition(".")
    words = [command, *([below] if below else []), "no-such-input", "nor-this"]
    write(f"[{name}]\n{key} = {value}\n")
    code, _, err = cli(*words)
    assert code == 2 and err.count("\n") == 1 and f"vqmeter.toml: [{name}] {key}: not from a file in the current folder" in err
    assert sorted(p.name for p in folder.iterdir()) == ["vqmeter.toml"]
    assert "current folder" not in cli("--config", "vqmeter.toml", *words)[2]
    (folder / "vqmeter.toml").rename(own)
    assert "current folder" not in cli(*words)[2]


def test_every_harmless_name_is_still_an_options_name():
    """A name that no option has any more would wait for another option to take it."""
    root = click.Context(command)
    commands = [found for name in COMMANDS if (found := command.get_command(root, name)) is not None]
    names = {param.name for found in commands for param in found.params if isinstance(param, click.Option)}
    assert names >= config.HARMLESS
    writing = {"outputs", "output", "map", "worst_dir", "worst", "weights", "input_format", "max_pixels", "plot", "force"}
    assert not writing & config.HARMLESS


def test_compat_takes_no_defaults(cli, write):
    path = write("[frr]\n")
    code, _, err = cli("compat", "vmaf", "--aom_ctc", "v1.0", "-r", "a", "-d", "b")
    assert code == 2 and "--aom_ctc" in err
    code, _, err = cli("--config", path, "compat", "vmaf", "-v")
    assert code == 2 and err == "vqmeter: compat takes no defaults from a file; leave out --config\n"


def test_the_environment_stands_above_the_file(write, own, monkeypatch, tmp_path):
    weights = f"{tmp_path}/none.safetensors"
    write(f'[nr]\nweights = "{weights}"\noffline = true\n', own)
    command = click.Command("nr", params=[click.Option(["--weights"]), click.Option(["--offline"], is_flag=True)])
    options = {"config": None, "no_config": False}
    monkeypatch.delenv("VQMETER_OFFLINE", raising=False)
    assert config.defaults(options, "nr", command, []) == {"nr": {"weights": weights, "offline": True}}
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("VQMETER_OFFLINE", "0")
    assert config.defaults(options, "nr", command, []) == {"nr": {}}


def test_without_a_file_nothing_is_read_or_imported(folder):
    code = "import sys\nsys.argv = ['vqmeter', *sys.argv[1:]]\nfrom vqmeter.cli import command\n" \
           "command.main(sys.argv[1:], standalone_mode=False)\nprint('\\n'.join(sys.modules), file=sys.stderr)"  # fmt: skip
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder)}
    run = subprocess.run([sys.executable, "-c", code, "schema"], capture_output=True, text=True, check=True, env=env)
    assert not {"tomllib", "tomli", "numpy", "torch", "numba"} & set(run.stderr.splitlines())
    assert "vqmeter.cli.config" in run.stderr.splitlines()
