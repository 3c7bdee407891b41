"""Jobs on disk: their order, how many wait, what is kept for how long."""

import shutil
from pathlib import Path

import pytest

from musclesense.serve.store import OUTCOME, SAID, FullError, Job, Kind, State, Store
from musclesense.storage.records import write_json


def add(store: Store, kind: Kind = Kind.SEGMENT, parent: str | None = None, most: int = 9, **options: str) -> str:
    name, _ = store.new_folder()
    store.add(name, kind, options, most=most, parent=parent)
    return name


def found(store: Store, name: str) -> Job:
    job = store.find(name)
    assert job is not None
    return job


def done(store: Store, name: str) -> None:
    claimed = store.claim()
    assert claimed is not None and claimed.id == name
    write_json(store.folder(name) / OUTCOME, {"state": "done"})
    store.finish(name, State.DONE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def test_names_cannot_be_guessed_and_folders_are_the_users_alone(store: Store, tmp_path: Path) -> None:
    names = {add(store) for _ in range(5)}
    assert len(names) == 5 and all(len(name) == 32 for name in names)
    for folder in (tmp_path / "data", tmp_path / "data" / "jobs", store.folder(names.pop())):
        assert folder.stat().st_mode & 0o077 == 0


def test_jobs_are_begun_in_order_and_measurements_first(store: Store) -> None:
    first, second = add(store), add(store)
    mask = add(store, Kind.MEASURE, parent=first)
    assert [store.ahead(found(store, name)) for name in (first, second, mask)] == [1, 2, 0]
    assert [job.id for _ in range(3) if (job := store.claim())] == [mask, first, second]
    assert store.claim() is None


def test_so_many_wait_and_no_more(store: Store) -> None:
    add(store, most=2), add(store, most=2)
    with pytest.raises(FullError):
        add(store, most=2)
    store.claim()
    add(store, most=2)


def test_options_come_back(store: Store) -> None:
    name = add(store, region="calf")
    assert found(store, name).options == {"region": "calf"} and store.find("0" * 32) is None


def test_the_latest_measurement_takes_the_place_of_earlier_ones(store: Store) -> None:
    scan = add(store)
    done(store, scan)
    masks = [add(store, Kind.MEASURE, scan, base=scan) for _ in range(3)]
    for mask in masks:
        done(store, mask)
    assert store.latest(found(store, scan)).id == masks[-1]
    store.forget_older(found(store, masks[-1]))
    assert [found(store, name).state for name in (scan, *masks)] == ["done", "deleted", "deleted", "done"]


def test_what_waits_to_be_measured_counts_where_that_is_asked(store: Store) -> None:
    scan = add(store)
    done(store, scan)
    first = add(store, Kind.MEASURE, scan, base=scan)
    own, waiting = found(store, scan), (State.QUEUED, State.RUNNING)
    assert (store.latest(own).id, store.latest(own, *waiting).id) == (scan, first)
    store.claim()
    assert (store.latest(own).id, store.latest(own, *waiting).id) == (scan, first)
    store.finish(first, State.FAILED)
    assert store.latest(own, *waiting).id == scan


@pytest.mark.parametrize("state", [State.FAILED, State.DONE])
def test_of_a_scan_that_failed_the_reason_alone_is_kept(state: State, store: Store) -> None:
    name = add(store)
    store.claim()
    folder = store.folder(name)
    (folder / "input").mkdir()
    for file in ("input/dicom-000001.dcm", "painted.bin", OUTCOME, SAID):
        (folder / file).write_text("{}")
    store.finish(name, state)
    kept = {OUTCOME, SAID} | ({"input", "painted.bin"} if state is State.DONE else set())
    assert {file.name for file in folder.iterdir()} == kept


def test_a_scan_is_said_to_have_failed_only_once_its_images_are_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the state finds no image any more, nor does a server that is killed between the two leave one."""
    name = add(store)
    store.claim()
    (store.folder(name) / "input").mkdir()
    said: list[State] = []
    remove = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda place, **options: (said.append(found(store, name).state), remove(place, **options))
    )
    store.finish(name, State.FAILED)
    assert said == [State.RUNNING] and found(store, name).state is State.FAILED
    assert not (store.folder(name) / "input").exists()


def test_what_has_ended_is_removed_in_time_with_all_that_belongs_to_it(store: Store) -> None:
    scan, waits = add(store), add(store)
    done(store, scan)
    mask = add(store, Kind.MEASURE, scan)
    done(store, mask)
    store.expire(3600)
    assert store.folder(scan).is_dir()
    store.expire(-1)
    assert [found(store, name).state for name in (scan, mask, waits)] == ["expired", "expired", "queued"]
    assert [store.folder(name).exists() for name in (scan, mask, waits)] == [False, False, True]
    assert found(store, scan).options == {}


def test_a_job_that_was_deleted_stays_so(store: Store) -> None:
    name = add(store)
    store.claim()
    store.end(name, State.DELETED)
    store.finish(name, State.DONE)
    store.let_wait(name)
    assert found(store, name).state is State.DELETED


def test_the_next_server_goes_on(store: Store, tmp_path: Path) -> None:
    ready, ended, began, again, waits = (add(store) for _ in range(5))
    done(store, ready)
    for _ in (ended, began, again):
        store.claim()
    write_json(store.folder(ended) / OUTCOME, {"state": "done"})
    store.let_wait(again), store.claim(), store.let_wait(again)
    half, _ = store.new_folder()
    other = Store(tmp_path / "data")
    other.recover()
    assert [found(other, name).state for name in (ready, ended, began, again, waits)] == [
        *("done", "done", "queued", "queued", "queued"),
    ]
    assert not store.folder(half).exists() and store.folder(waits).exists()


def test_a_job_that_ends_the_server_twice_fails(store: Store) -> None:
    name = add(store)
    for state in ("queued", "failed"):
        store.claim()
        store.recover()
        assert found(store, name).state == state
