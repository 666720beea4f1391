import numpy as np

from csc_cogd import LearningProgress, Prior
from csc_cogd.nn import History
from csc_cogd.nn.training.history import Epoch
from csc_cogd.report.training import draw_history, draw_learning


def test_panels_show_loss_accuracy_and_learning_rate():
    history = History((Epoch(1, 0.1, 2.0, 0.25, 2.5, 0.5, 1.0), Epoch(2, 0.05, 1.0, 0.75, 1.5, 0.625, 1.0)))
    drawn = {
        axis.get_title(): {line.get_label(): list(zip(*map(list, line.get_data()), strict=True)) for line in axis.lines}
        for axis in draw_history(history).axes
    }
    assert drawn["loss"] == {"training": [(1, 2.0), (2, 1.0)], "test": [(1, 2.5), (2, 1.5)]}
    assert drawn["accuracy in %"] == {"training": [(1, 25), (2, 75)], "test": [(1, 50), (2, 62.5)]}
    assert list(drawn["learning rate"].values()) == [[(1, 0.1), (2, 0.05)]]


def test_without_a_test_its_lines_are_missing():
    history = History((Epoch(1, 0.1, 2.0, 0.25, None, None, 1.0),))
    assert [len(axis.lines) for axis in draw_history(history).axes] == [1, 1, 1]


def test_what_learning_a_prior_draws():
    prior, none = Prior.default("color"), ()
    course = [LearningProgress(100 * n, n / 3, 1 / n, (30 + n, 28 + n, 25 + n) if n > 1 else none, n, 0) for n in (1, 2, 3)]
    loss, psnr, filters = draw_learning(course, prior).axes
    assert list(loss.lines[0].get_ydata()) == [1, 1 / 2, 1 / 3]
    drawn = {line.get_label(): (*map(list, line.get_data()),) for line in psnr.lines}
    assert drawn["white 25"] == ([200, 300], [30, 31])
    shown = np.asarray(filters.images[0].get_array())
    assert f"{prior.dictionary.n_filters} filters" == filters.get_title()
    assert shown.shape[2] == 3
    assert np.ptp(shown[:7, :7]) > 0.5
