"""Many people at the page of ``musclesense serve``: ``python -m benchmarks.speed.serve_uploads [--people 20]``.

Each uploads a phantom scan of another patient, all at once. Meanwhile the first page and the page of a scan are asked
for, again and again. Prints whether all scans ended, whether each mask is what ``musclesense.segment`` makes of the
same images here, and how long the page took to answer.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np

import musclesense as ms
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.phantom.cohorts.generate import scan_subject
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.cohorts.subjects import list_subjects

EVERY_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--slices", type=int, default=2, help="of each scan")
    parser.add_argument("--jobs", type=int, default=2, help="scans segmented at once")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scans = phantoms(Path(folder), asked.people, asked.slices)
        told = ["--data", f"{folder}/data", "--port", "0", "--jobs", str(asked.jobs), "--queue", str(asked.people)]
        with subprocess.Popen(
            [sys.executable, "-m", "musclesense", "serve", *told], stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            try:
                upload_all(server.stdout.readline().strip(), scans)
            finally:
                server.terminate()


def phantoms(folder: Path, people: int, slices: int) -> list[Path]:
    """Simulate scans, each of another patient; gives their fat images."""
    preset = find_preset("demo")
    assert preset.stack is not None
    preset = replace(preset, stack=replace(preset.stack, slices=slices))
    subjects, made = list_subjects(preset), []
    for number in range(people):
        subject = subjects[number % len(subjects)]
        scan = next(one.scan for one in scan_subject(preset, subject, number) if one.region == "thigh")
        made.append(folder / f"scan{number}_fat.nii.gz")
        write_volume(made[-1], scan.volumes()["fat"], scan.geometry(), np.float32)
    return made


def upload_all(address: str, scans: list[Path]) -> None:
    """Upload all scans at once, wait for their masks, and print how it went."""
    with httpx.Client(base_url=address, timeout=None) as client, ThreadPoolExecutor(len(scans)) as people:
        started, together = time.monotonic(), threading.Barrier(len(scans))
        over, answered = threading.Event(), list[float]()

        def submit(file: Path) -> str:
            together.wait()
            answer = client.post("/api/jobs", files={"files": (file.name, file.read_bytes())}, data={"region": "thigh"})
            return str(answer.raise_for_status().json()["id"])

        def look() -> None:
            with httpx.Client(base_url=address, timeout=None) as visitor:
                while not over.wait(EVERY_SECONDS):
                    for page in ("/", f"/jobs/{names[0]}" if names else "/"):
                        begun = time.monotonic()
                        visitor.get(page).raise_for_status()
                        answered.append(time.monotonic() - begun)

        names: list[str] = []
        visitor = threading.Thread(target=look)
        visitor.start()
        names += people.map(submit, scans)
        print(f"{len(names)} uploads taken in {time.monotonic() - started:.1f} s", flush=True)
        states = [wait(client, name) for name in names]
        took = time.monotonic() - started
        over.set()
        visitor.join()
        print(f"{states.count('done')} of {len(states)} done in {took:.0f} s")
        same = sum(is_own(client, name, file) for name, file in zip(names, scans, strict=True))
        print(f"{same} of {len(states)} masks are those of their own images")
    ms_ = sorted(1000 * one for one in answered)
    print(f"the page answered {len(ms_)} times: median {statistics.median(ms_):.0f} ms, ", end="")
    print(f"95 % within {ms_[int(0.95 * len(ms_))]:.0f} ms, slowest {ms_[-1]:.0f} ms")


def wait(client: httpx.Client, name: str) -> str:
    """Wait until a job has ended; gives how."""
    while (state := str(client.get(f"/api/jobs/{name}").json()["state"])) not in ("done", "failed"):
        time.sleep(1)
    return state


def is_own(client: httpx.Client, name: str, file: Path) -> bool:
    """Tell whether the mask of a job is that of an image."""
    answer = client.get(f"/api/jobs/{name}/files/mask.nii.gz")
    given = file.with_name("mask.nii.gz")
    given.write_bytes(answer.content)
    made = ms.segment(ms.read_scan(fat=file), region="thigh").mask
    return answer.status_code == 200 and bool(made.any()) and bool(np.array_equal(read_volume(given).data, made))


if __name__ == "__main__":
    main()
