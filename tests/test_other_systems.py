"""Segmenting needs nothing that Linux alone has: as on Windows, where these modules and functions are missing."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from musclesense.imaging.nifti import read_volume
from musclesense.vocabulary import Region

from .segmentation.conftest import leg_scan

AS_ON_WINDOWS = """
import os, shutil, signal, sys
from types import SimpleNamespace

shutil.disk_usage = lambda place: SimpleNamespace(free=2**40)  # which asks otherwise there
for name in ("fcntl", "resource", "termios", "pwd", "grp", "syslog"):
    sys.modules[name] = None
for module, names in {
    os: "fork forkpty statvfs getuid geteuid getpgid killpg setsid posix_fallocate sched_getaffinity wait4 "
        "O_DIRECTORY O_NOFOLLOW ST_RDONLY",
    signal: "SIGHUP SIGKILL SIGPIPE SIGUSR1 SIGUSR2 SIGALRM pthread_sigmask",
}.items():
    for name in names.split():
        delattr(module, name)

from musclesense.cli.main import main
from musclesense.storage import atomic
atomic.sys = SimpleNamespace(platform="win32")
main(sys.argv[1:])
for module in ("musclesense.api", "musclesense.intake.batch", "musclesense.segmentation.corrected"):
    __import__(module)
"""


def test_a_scan_is_segmented_and_measured_without_what_linux_alone_has(tmp_path: Path) -> None:
    scan = leg_scan(Region.CALF, [0.5])
    image = nib.Nifti1Image(scan.channels["image"], scan.geometry.affine)
    nib.save(image, tmp_path / "scan.nii.gz")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", AS_ON_WINDOWS, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("segment", "scan.nii.gz", "--fast", "--device", "cpu", "--out", "out").strip().endswith("mask.nii.gz")
    assert np.any(read_volume(tmp_path / "out" / "mask.nii.gz").data)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["region"] == "calf"
    assert "measurements.csv" in run("measure", "scan.nii.gz", "--mask", "out/mask.nii.gz", "--out", "measured")
    assert (tmp_path / "measured" / "measurements.csv").is_file()
