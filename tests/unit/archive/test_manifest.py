from collector import keys
from collector.archive.manifest import File, Manifest
from collector.connections import Redis
from collector.settings import Settings
from tests.unit.parts import NOW, OTHER_TAG, TAG, Parts, happened

FILE = File("5-0-a", 2, 100, "5-0", "5-1", NOW - 5, NOW)
SECOND = File("6-0-b", 3, 100, "6-0", "6-5", NOW - 5, NOW)
MERGED = File("5-0-c", 5, 200, "5-0", "6-5", NOW - 5, NOW)


def manifest(redis: Redis, settings: Settings) -> Manifest:
    return Manifest(redis, 0, settings.archive)


def erasures(files: Manifest, number: int) -> str:
    return f"{files.past(TAG).lineage}:{number}"


def in_force(files: Manifest, tag: str = TAG) -> list[File]:
    return files.past(tag).files


def test_files_come_with_the_cursor_or_not_at_all(redis: Redis, settings: Settings) -> None:
    files = manifest(redis, settings)
    assert files.flush("0-0", erasures(files, 0), "5-1", [(TAG, FILE), (OTHER_TAG, SECOND)])
    assert not files.flush("0-0", erasures(files, 0), "6-5", [(TAG, SECOND)])
    assert files.past(TAG).archived == "5-1"
    assert (in_force(files), in_force(files, OTHER_TAG)) == ([FILE], [SECOND])


def test_no_file_comes_from_before_an_erasure(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    files = manifest(redis, settings)
    files.flush("0-0", erasures(files, 0), "5-1", [(TAG, FILE)])
    parts.columns().forget(TAG, "anna", "tombstone", NOW)
    assert not files.flush("5-1", erasures(files, 0), "6-5", [(TAG, SECOND)])
    assert not files.replace(TAG, erasures(files, 0), [FILE], None, [], NOW)
    past = files.past(TAG)
    (mark,) = past.erasing
    assert (past.erasures, past.files, past.tombstones) == (erasures(files, 1), [FILE], {mark: NOW})
    assert files.flush("5-1", erasures(files, 1), "6-5", [(TAG, SECOND)])


def test_files_are_replaced_only_when_all_of_them_are_in_force(redis: Redis, settings: Settings) -> None:
    files = manifest(redis, settings)
    files.flush("0-0", erasures(files, 0), "6-5", [(TAG, FILE)])
    assert not files.replace(TAG, erasures(files, 0), [FILE, SECOND], MERGED, [], NOW)
    assert not files.replace(OTHER_TAG, erasures(files, 0), [FILE], MERGED, [], NOW)
    assert in_force(files) == [FILE]
    files.flush("6-5", erasures(files, 0), "7-0", [(TAG, SECOND)])
    assert files.replace(TAG, erasures(files, 0), [FILE, SECOND], MERGED, [], NOW)
    assert not files.replace(TAG, erasures(files, 0), [FILE, SECOND], MERGED, [], NOW)
    assert in_force(files) == [MERGED]


def test_an_erasure_is_done_with_only_when_the_files_are(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    files = manifest(redis, settings)
    files.flush("0-0", erasures(files, 0), "5-1", [(TAG, FILE)])
    parts.columns().forget(TAG, "anna", "tombstone", NOW)
    (mark,) = files.past(TAG).erasing
    assert not files.replace(TAG, erasures(files, 1), [SECOND], None, [mark], NOW)
    assert files.past(TAG).erasing == {mark}
    assert files.replace(TAG, erasures(files, 1), [FILE], None, [mark], NOW)
    assert (files.past(TAG).erasing, in_force(files)) == (set(), [])
    assert files.past(TAG).tombstones == {mark: NOW}


def test_a_replaced_file_stays_for_its_readers_until_its_time(redis: Redis, settings: Settings) -> None:
    files = manifest(redis, settings)
    paths = [files.path(TAG, file.name) for file in (FILE, SECOND)]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_bytes(b"rows")
    files.flush("0-0", erasures(files, 0), "5-1", [(TAG, FILE), (TAG, SECOND)])
    files.replace(TAG, erasures(files, 0), [FILE], None, [], NOW + 10)
    assert files.collect_garbage(NOW + 9) == 0
    assert [path.exists() for path in paths] == [True, True]
    assert files.collect_garbage(NOW + 10) == 1
    assert [path.exists() for path in paths] == [False, True]
    assert files.collect_garbage(NOW + 11) == 0


def test_the_past_ends_at_what_waits_in_the_stream(redis: Redis, settings: Settings) -> None:
    parts = Parts(redis, settings)
    files = manifest(redis, settings)
    assert files.past(TAG).newest == "0-0"
    parts.send(happened("anna"), happened("anna"))
    assert files.past(TAG).newest == redis.xrevrange(keys.events(0), count=1)[0][0].decode()
