import numpy as np
import pytest

from csc_cogd import InputError, denoise, inpaint, psnr
from csc_cogd.restore.report import Trace
from csc_cogd.restore.synthetic_masks import random_mask


@pytest.fixture
def damaged(photo):
    mask = random_mask(photo.shape, 0.5)
    return np.where(mask, 0, photo).astype(np.uint8), mask


@pytest.mark.parametrize(("tile", "prior"), [(0, "none"), (32, "none"), (32, "default")])
def test_tells_how_the_picture_became_better_and_changes_nothing(photo, damaged, tile, prior):
    image, mask = damaged
    trace = Trace(photo)
    restored = inpaint(image, mask, tile=tile, trace=trace, threads=1, prior=prior)
    np.testing.assert_array_equal(restored, inpaint(image, mask, tile=tile, threads=1, prior=prior))
    curve = trace.curve()
    second = "prior" if prior == "default" else "code"
    assert [(step.stage, step.step) for step in curve] == [
        ("pilot", 0), (second, 1), *(("patches", number) for number in range(1, len(curve) - 1)),
    ]  # fmt: skip
    assert np.all(np.diff([step.seconds for step in curve]) > 0)
    levels = [10 * np.log10(255**2 / step.mse) for step in curve]
    assert levels[-1] > levels[0]
    assert levels[-1] == pytest.approx(
        psnr(restored, photo, data_range=255, where=mask), abs=0.3
    )  # before rounding, blending


def test_gathers_what_the_code_says_and_which_filters_it_uses(photo, damaged):
    image, mask = damaged
    trace = Trace()
    inpaint(image, mask, tile=0, trace=trace, prior="none")
    assert trace.curve() == []
    assert trace.fit.shape == (1, *photo.shape)
    known_error = np.abs(trace.fit[0] - photo)[~mask].mean()
    assert 0 < known_error < 5
    assert trace.usage.shape == (trace.dictionary.n_filters,)
    assert trace.usage.sum() == trace.history[-1].nonzeros


def test_where_there_is_no_code_nothing_is_said_of_it(photo):
    mask = random_mask(photo.shape, 0.1)
    trace = Trace(photo)
    inpaint(np.where(mask, 0, photo).astype(np.uint8), mask, trace=trace)
    assert {step.stage for step in trace.curve()} == {"pilot", "patches"}
    assert np.isnan(trace.fit).all()
    assert trace.usage is None
    assert trace.dictionary is None
    assert not trace.history


def test_channels_and_noise(rng):
    clean = np.add.outer(np.arange(40.0), np.arange(32))[..., None] * [1, 2, 3, 4]
    trace = Trace(clean)
    denoise(clean + rng.normal(0, 4, clean.shape), 4, channel_axis=-1, prior="none", trace=trace)
    assert trace.fit.shape == (4, 40, 32)
    assert np.isfinite(trace.fit).all()
    assert trace.dictionary.n_channels == 3
    curve = trace.curve()  # over all values, as all of them are restored
    assert curve[-1].mse < 8 < curve[0].mse < 32


def test_a_reference_of_another_shape_is_refused(damaged):
    image, mask = damaged
    with pytest.raises(InputError, match=r"reference must be of the image's shape, got \(5, 5\)"):
        inpaint(image, mask, trace=Trace(np.zeros((5, 5))))


def test_a_try_that_ended_for_want_of_memory_leaves_nothing(photo, damaged, monkeypatch):
    from csc_cogd.restore import group
    from csc_cogd.restore.stages import nonlocal_bayes

    image, mask = damaged
    plain, disturbed = Trace(photo), Trace(photo)
    inpaint(image, mask, tile="auto", trace=plain, threads=1, prior="none")
    refine, failures = nonlocal_bayes.refine, [1]

    def short_of_memory(*arguments, **options):
        if failures:
            failures.pop()
            raise MemoryError
        return refine(*arguments, **options)

    monkeypatch.setattr(nonlocal_bayes, "refine", short_of_memory)
    choose = group.choose_tiles

    def choose_as_if_all_were_free(damaged, missing, memory, *settings):
        return choose(damaged, missing, memory._replace(budget=2e9), *settings)

    monkeypatch.setattr(group, "choose_tiles", choose_as_if_all_were_free)
    inpaint(image, mask, tile="auto", trace=disturbed, threads=1, prior="none")
    np.testing.assert_array_equal(disturbed.fit, plain.fit)
    np.testing.assert_array_equal(disturbed.usage, plain.usage)
    assert [step.mse for step in disturbed.curve()] == [step.mse for step in plain.curve()]
