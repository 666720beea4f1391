import errno
import json
import os

import numpy as np
import pytest

from csc_cogd import DeviceError, Dictionary, InputError, inpaint, restore_batch
from csc_cogd.batch import plan_batch
from csc_cogd.imagefiles import read_image
from tests.batch.conftest import QUICK, run
from tests.cli.calling import contents


def stamps(folder):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.png")}


def test_a_tree_is_mirrored_and_each_file_is_what_the_function_makes_of_it(folder):
    results = run("in", "out", mask="masks", recursive=True)
    names = ["deep/p0.png", "deep/p1.png", "p0.png", "p1.png", "p2.png"]
    assert sorted(os.path.relpath(result.output, "out") for result in results) == names
    for name in names:
        mask = read_image(folder / "masks" / name).pixels
        expected = inpaint(read_image(folder / "in" / name).pixels, mask, threads=1, **QUICK)
        np.testing.assert_array_equal(read_image(folder / "out" / name).pixels, expected)
    assert {result.status for result in results} == {"done"}
    assert all(0.1 < result.missing < 0.3 and result.seconds > 0 and result.pages == 1 for result in results)


def test_a_bad_file_costs_only_its_own_result(folder):
    (folder / "in" / "p1.png").write_bytes((folder / "in" / "p1.png").read_bytes()[:60])
    results = {result.input: result for result in run("in", "out", mask="masks")}
    bad = results.pop("in/p1.png")
    assert (bad.status, bad.output) == ("failed", "")
    assert bad.error == "in/p1.png: damaged PNG: the file ends too early"
    assert "\n" not in bad.error
    assert "Traceback" in bad.trace
    assert {result.status for result in results.values()} == {"done"}
    assert {path.name for path in (folder / "out").glob("*.png")} == {"p0.png", "p2.png"}


def test_fail_fast_stops_at_the_first_bad_file(folder):
    (folder / "in" / "p1.png").write_bytes(b"")
    results = run("in", "out", mask="masks", fail_fast=True)
    assert [(result.input, result.status) for result in results] == [("in/p0.png", "done"), ("in/p1.png", "failed")]
    assert not (folder / "out" / "p2.png").exists()


def test_a_full_disk_stops_a_batch_and_may_not_take_its_report(folder, monkeypatch):
    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    plain = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: full(file) if (folder / "out" / "p0.png").exists() else plain(file))
    results = run("in", "out", mask="masks", report="report")
    assert [(result.input, result.status) for result in results] == [("in/p0.png", "done"), ("in/p1.png", "failed")]
    assert "make room, or write to another disk" in results[-1].error
    assert not (folder / "report" / "index.html").exists()


def test_what_is_there_is_left_as_it_is_and_the_rest_is_done(folder):
    run(["in/p0.png", "in/p1.png"], "out", mask="masks")
    before = stamps(folder / "out")
    results = run("in", "out", mask="masks", skip_existing=True)
    assert {result.input: result.status for result in results} == {
        "in/p0.png": "skipped", "in/p1.png": "skipped", "in/p2.png": "done",
    }  # fmt: skip
    after = stamps(folder / "out")
    assert all(after[path] == stamp for path, stamp in before.items())
    assert [result.missing for result in results if result.status == "skipped"] == [
        pytest.approx(read_image(f"masks/p{i}.png").pixels.mean() / 255) for i in (0, 1)
    ]


@pytest.mark.parametrize("change", ["input", "mask", "settings", "output", "rules", "dictionary"])
def test_what_was_made_from_something_else_is_not_skipped(folder, change):
    options = {"mask": "masks", "dictionary": "d.npz"}
    Dictionary.default("gray").save("d.npz")
    run("in", "out", **options)
    if change == "input":
        (folder / "in" / "p0.png").write_bytes((folder / "in" / "p1.png").read_bytes())
    elif change == "mask":
        (folder / "masks" / "p0.png").write_bytes((folder / "masks" / "p1.png").read_bytes())
    elif change == "output":
        (folder / "out" / "p0.png").write_bytes(b"mine now")
    elif change == "dictionary":
        Dictionary(Dictionary.default("gray").filters[:9]).save("d.npz", overwrite=True)
    else:
        options |= {"lmbda": 0.5} if change == "settings" else {"mask_dilate": 1}
    before = contents(folder / "out")
    first = next(restore_batch("in", "out", skip_existing=True, **QUICK, **options))
    assert first.status == "failed"
    assert "out/p0.png: exists already, made from another input or with other settings" in first.error
    assert contents(folder / "out") == before
    first, second, _ = run("in", "out", skip_existing=True, overwrite=True, **options)
    assert first.status == "done"
    assert second.status == ("done" if change in ("settings", "rules", "dictionary") else "skipped")


def test_threads_and_memory_are_no_other_settings(folder):
    run("in", "out", mask="masks")
    results = run("in", "out", mask="masks", skip_existing=True, threads=1, max_memory=1e9)
    assert {result.status for result in results} == {"skipped"}


def test_nothing_is_overwritten_unasked(folder):
    (folder / "out").mkdir()
    (folder / "out" / "p1.png").write_bytes(b"mine")
    statuses = [result.status for result in run("in", "out", mask="masks")]
    assert statuses == ["done", "failed", "done"]
    assert (folder / "out" / "p1.png").read_bytes() == b"mine"
    assert [result.status for result in run("in", "out", mask="masks", overwrite=True)] == ["done"] * 3
    assert read_image("out/p1.png").pixels.shape == (24, 20)


def test_a_second_run_beside_the_inputs_does_not_restore_results(folder):
    assert len(run("in", mask="masks")) == 3
    results = run("in", mask="masks", skip_existing=True)
    assert sorted(result.input for result in results) == ["in/p0.png", "in/p1.png", "in/p2.png"]
    assert {result.status for result in results} == {"skipped"}


def test_masks_beside_the_pictures_are_not_pictures(folder):
    for i in range(3):
        (folder / "masks" / f"p{i}.png").rename(folder / "in" / f"p{i}_mask.png")
    results = run("in", "out", mask="in")
    assert sorted(result.output for result in results) == ["out/p0.png", "out/p1.png", "out/p2.png"]


def test_one_mask_for_all_and_another_format(folder):
    results = run("in", "out", mask="masks/p0.png", suffix=".tif")
    assert sorted(result.output for result in results) == ["out/p0.tif", "out/p1.tif", "out/p2.tif"]
    assert read_image("out/p0.tif").format == "tiff"


@pytest.mark.parametrize(
    ("inputs", "options", "problem"),
    [
        ("in", {"task": "repair"}, "task must be one of 'inpaint', .+, got 'repair'"),
        ("none/*.png", {}, "none/.*: no file has such a name"),
        ("empty", {}, "empty: the folder has no image"),
        ([], {}, "there is no image"),
        ("in", {"mask": "none"}, "none: no such file"),
        ("in", {"mask_polarity": "inverted"}, "mask_polarity must be 'missing' or 'valid', got 'inverted'"),
        ("in", {"mask_dilate": 2.5}, "mask_dilate must be an integer >= 0, or 'auto', got 2.5"),
        ("in", {"mask_color": "clean"}, "mask_color must be a color such as red, .* got 'clean'"),
        ("in", {"lmbda": -1.0}, "lmbda"),
        ("in", {"task": "denoise", "noise": "impulse", "noise_sigma": 3.0}, "noise_sigma belongs to white noise"),
        ("in", {"dictionary": "none.npz"}, "none.npz: no such dictionary"),
        ("in", {"jobs": 0}, "jobs must be a number of processes, 1 or more, got 0"),
        ("in", {"jobs": 2, "scheduler": "tcp://a:1"}, "jobs can't be chosen, as the workers are the scheduler's"),
        ("in", {"reference": "in"}, "reference belongs to a report: name the folder of one by report"),
        ("in", {"files_from": "none.txt"}, "none.txt: no such list of files"),
        (["in/p0.png", "in/deep/p0.png"], {}, "out/p0.png: both in/p0.png and in/deep/p0.png would be written there"),
        ("in", {"device": "gpu"}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
    ],
)
def test_what_can_be_known_beforehand_is_refused_at_once(folder, inputs, options, problem):
    (folder / "empty").mkdir()
    before = contents(folder)
    with pytest.raises(InputError, match=problem):
        restore_batch(inputs, "out", **{"mask": "masks"} | QUICK | options)
    assert contents(folder) == before


def test_a_device_that_is_not_there_is_refused_at_once(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(DeviceError, match="CuPy isn't installed"):
        restore_batch("in", "out", mask="masks", device="cuda")
    monkeypatch.setattr("csc_cogd.batch.batch.check_scheduler", lambda scheduler: None)
    plan_batch("in", "out", task="inpaint", mask="masks", device="cuda", scheduler="tcp://a:1")  # the workers' may be there


@pytest.mark.parametrize(
    ("options", "n_processes", "devices", "share"),
    [
        ({"device": "cuda"}, 2, 2, None), ({"device": "auto", "jobs": 3}, 3, 2, 2),
        ({"device": "cuda", "jobs": 1}, 1, 2, None),
        ({"device": "cuda:1"}, 1, 0, None), ({"device": "cuda:1", "jobs": 2}, 2, 0, 2), ({"device": "cpu"}, 1, 0, None),
        ({"device": "cuda", "scheduler": "local"}, 1, 0, None),
    ],
    ids=str,
)  # fmt: skip
def test_gpus_are_shared_out_among_processes(folder, cuda, monkeypatch, options, n_processes, devices, share):
    if not hasattr(cuda, "transfers"):
        pytest.skip("there are as many GPUs as there are; only the double of CuPy has two")
    pytest.importorskip("distributed") if "scheduler" in options else None
    monkeypatch.setattr("csc_cogd.backend.cuda.device.usable_devices", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr("csc_cogd.backend.selection.choose_device", lambda *settings: ("cuda", "a double"))
    batch = plan_batch("in", "out", task="inpaint", mask="masks", **options)
    assert (batch.n_processes, len(batch.devices)) == (n_processes, devices)
    memory = batch.jobs[0].settings.tiling.max_memory
    assert memory is None if share is None else memory == pytest.approx(0.8 * 8e9 / share)
    if options["device"] != "cpu":
        assert batch.jobs[0].settings.engine.threads is None


def test_a_stack_is_restored_page_by_page(folder, photo, rng):
    stack = np.stack([photo[:24, :20], photo[20:44, :20], photo[40:64, :20]]).astype(np.float32)
    damaged = stack.copy()
    damaged[1][rng.random((24, 20)) < 0.2] = np.nan
    np.save("stack.npy", damaged)
    (result,) = run("stack.npy", axes="NYX")
    restored = np.load("stack_inpainted.npy")
    assert (result.status, result.pages) == ("done", 3)
    np.testing.assert_array_equal(restored[[0, 2]], stack[[0, 2]])
    np.testing.assert_array_equal(restored[1], inpaint(damaged[1], threads=None, **QUICK))
    assert result.missing == pytest.approx(np.isnan(damaged).mean())
    np.save("whole.npy", stack)
    (result,) = run("whole.npy", axes="NYX")
    assert "whole.npy: no pixel is missing in any page" in result.error
    assert not (folder / "whole_inpainted.npy").exists()


@pytest.mark.parametrize("task", ["denoise", "reconstruct"])
def test_other_tasks(folder, task):
    options = {"lmbda": 0.1} if task == "reconstruct" else QUICK
    results = list(restore_batch("in", "out", task=task, **options))
    assert [result.status for result in results] == ["done"] * 3
    if task == "reconstruct":
        assert all(result.figures["psnr"] > 15 for result in results)


def test_an_input_is_never_written_to_even_for_another(folder):
    before = contents(folder)
    for inputs, output in ((["in/p0.png", "in/p1.png", "masks/p0.png"], "masks"), (["in", "in/deep/p0.png"], "in")):
        with pytest.raises(InputError, match=r"never overwritten|both"):
            restore_batch(inputs, output, mask="masks", overwrite=True, **QUICK)
    with pytest.raises(InputError, match="never overwritten"):
        restore_batch("in/deep", "in", mask="masks", report="r", reference="in", overwrite=True, **QUICK)
    assert contents(folder) == before


def test_named_files_that_are_left_out_are_told_of(folder):
    from csc_cogd.batch import plan_batch

    run("in/p0.png", mask="masks")
    batch = plan_batch(["in/p0.png", "in/p0_inpainted.png", "masks/p0.png"], task="inpaint", mask="masks/p0.png", **QUICK)
    assert [str(job.source) for job in batch.jobs] == ["in/p0.png"]
    assert batch.notes == ["1 of 3 images left out: masks of others", "1 of 3 images left out: results of others"]
    (folder / "in" / "p1.tif").write_bytes((folder / "in" / "p1.png").read_bytes())
    with pytest.raises(InputError, match="each image would be the mask of another"):
        plan_batch(["in/p1.png", "in/p1.tif"], task="inpaint", mask="in", **QUICK)


def test_more_processes_than_images(folder):
    results = run("in", "out", mask="masks", jobs=9)
    assert [result.status for result in results] == ["done"] * 3
    assert [result.status for result in run("in/p0.png", "one.png", mask="masks", jobs=9)] == ["done"]


def test_reconstruction_by_processes(folder):
    results = list(restore_batch("in", "out", task="reconstruct", dictionary="default", jobs=2, device="cpu"))
    assert [result.status for result in results] == ["done"] * 3


def test_equal_settings_said_otherwise_are_no_other_settings(folder):
    run("in", "out", mask="masks", lmbda=0.015625)
    said = {"lmbda": np.float64(0.015625), "dtype": np.float32, "tile": "auto", "noise_sigma": None, "fft": "scipy"}
    assert {result.status for result in run("in", "out", mask="masks", skip_existing=True, **said)} == {"skipped"}
    planned = run("in", "out", mask="masks", skip_existing=True, dry_run=True, lmbda=0.015625)
    assert {result.status for result in planned} == {"skipped"}


def test_a_single_image_of_a_folder_is_remembered_as_well(folder):
    (folder / "one").mkdir()
    (folder / "one" / "p0.png").write_bytes((folder / "in" / "p0.png").read_bytes())
    run("one", "out", mask="masks")
    assert [result.status for result in run("one", "out", mask="masks", skip_existing=True)] == ["skipped"]


def test_a_record_by_another_version_is_no_record_or_is_understood(folder):
    run("in", "out", mask="masks")
    for name, change in (("p0", lambda record: record["result"].update(new=1)), ("p1", lambda record: record.pop("files"))):
        path = folder / "out" / ".csc-cogd" / f"{name}.png.json"
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))
    statuses = {result.input: result.status for result in run("in", "out", mask="masks", skip_existing=True)}
    assert statuses == {"in/p0.png": "skipped", "in/p1.png": "failed", "in/p2.png": "skipped"}


def test_a_run_that_was_overtaken_finds_the_result(folder, monkeypatch):
    from csc_cogd.batch import jobs as module

    def overtaken(*arguments, **options):
        monkeypatch.setattr(module, "create_images", create)
        run(["in/p0.png", "in/p1.png"], "out", mask="masks")
        return create(*arguments, **options)

    create = module.create_images
    monkeypatch.setattr(module, "create_images", overtaken)
    first = next(restore_batch(["in/p0.png", "in/p1.png"], "out", mask="masks", skip_existing=True, **QUICK))
    assert (first.status, first.output) == ("skipped", "out/p0.png")


def test_a_page_without_gaps_is_denoised_like_the_others(folder, photo, rng):
    stack = np.stack([photo[:24, :20], photo[20:44, :20]]) + rng.normal(0, 8, (2, 24, 20))
    stack[0, 3, 4] = np.nan
    np.save("noisy.npy", stack)
    run("noisy.npy", axes="NYX", noise_sigma=8.0)
    restored = np.load("noisy_inpainted.npy")
    clean = np.stack([photo[:24, :20], photo[20:44, :20]]).astype(float)
    assert (np.abs(restored - clean).mean(axis=(1, 2)) < 8 * 0.8 * 0.8).all()


def test_progress_is_told_and_can_end_a_stage(folder):
    told = []
    run("in/p0.png", "out.png", mask="masks", callback=told.append)
    assert {progress.stage for progress in told} >= {"codes", "patches"}


def test_a_setting_that_is_none_is_named(folder):
    with pytest.raises(InputError, match=r"lambda is no setting of this task: use lmbda$"):
        restore_batch("in", "out", mask="masks", **QUICK, **{"lambda": 1})


def test_an_overwritten_result_stays_a_link_and_is_known_again(folder):
    (folder / "store").mkdir()
    (folder / "out").mkdir()
    (folder / "store" / "p0.png").write_bytes((folder / "in" / "p0.png").read_bytes())
    (folder / "out" / "p0.png").symlink_to("../store/p0.png")
    assert {result.status for result in run("in", "out", mask="masks", overwrite=True)} == {"done"}
    assert (folder / "out" / "p0.png").is_symlink()
    assert contents(folder / "store")[folder / "store" / "p0.png"] != (folder / "in" / "p0.png").read_bytes()
    assert {result.status for result in run("in", "out", mask="masks", skip_existing=True)} == {"skipped"}


def test_an_error_names_its_file_once_whatever_its_name(folder):
    path = folder / "in" / "two  gaps\nand lines.png"
    path.write_bytes(b"")
    (result,) = run(path, "out.png", mask="masks/p0.png")
    assert result.error.count("and lines.png") == 1


def test_settings_are_checked_without_an_image_and_may_be_given_as_records(folder):
    from csc_cogd import Solve, Tiling

    for options, problem in (
        ({"tile": 5}, "tile must be"), ({"max_iter": 0}, "max_iter"), ({"noise_sigma": -1.0}, "noise_sigma must be"),
        ({"task": "denoise", "gain": 2.0}, "gain belongs to Poisson noise: leave it out, or use noise 'poisson'"),
        ({"task": "deblur"}, "operator must be an operator"), ({"solve": Solve(), "lmbda": 1.0}, "lmbda was given twice"),
        ({"task": "reconstruct", "tile": 64}, "tile is no setting of this task"),
        ({"mask_path": "masks"}, "mask_path is no setting of this task: use mask"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=problem):
            restore_batch("in", "out", **{"device": "cpu"} | options)
    records = {"solve": Solve(effort="fast", max_iter=1), "tiling": Tiling(tile=64)}
    batch = plan_batch("in", "out", task="inpaint", mask="masks", device="cpu", **records)
    assert {(job.settings.solve, job.settings.tiling) for job in batch.jobs} == {(records["solve"], records["tiling"])}


def test_messages_call_arguments_what_they_are_called_where_they_are_shown(folder):
    for shown in ({}, {"max_memory": "--max-memory"}):
        batch = plan_batch("in/p0.png", "out.png", task="inpaint", mask="masks", names=shown, max_memory=1e5)
        (result,) = batch.run()
        assert result.error.startswith(f"in/p0.png: {shown.get('max_memory', 'max_memory')} of 0.0001 GB doesn't suffice")


def test_a_folder_that_is_not_writable_is_one_error_and_not_one_for_each_file(folder, monkeypatch):
    monkeypatch.setattr("os.access", lambda place, mode: False)
    with pytest.raises(InputError, match=r"^out/new: the folder \. isn't writable: choose another"):
        plan_batch("in", "out/new", task="inpaint", mask="masks", **QUICK)
    plan_batch("in", "out/new", task="inpaint", mask="masks", skip_existing=True, **QUICK)  # all may be done already


def test_a_file_that_is_not_there_is_missed_before_its_mask(folder):
    (result,) = run("in/p9.png", "out/p9.png", mask="masks")
    assert result.error == "in/p9.png: no such file: check its name"


def test_a_new_folder_is_made_for_a_single_file_as_well(folder):
    (result,) = run("in/p0.png", "made/here", mask="masks")
    assert result.output == "made/here/p0.png"
    (result,) = run("in/p1.png", "as-tiff", mask="masks", suffix=".tif")
    assert (result.output, (folder / "as-tiff" / "p1.tif").is_file()) == ("as-tiff/p1.tif", True)
    (folder / "plain").touch()
    (result,) = run("in/p0.png", "plain", mask="masks", overwrite=True)
    assert "format isn't known by its name" in result.error
