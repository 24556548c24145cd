"""Ridge and support vectors against scikit-learn and closed forms, in the form that weight files keep."""

import numpy as np
import pytest

from vqmeter.training import regression


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (60, 7))
    return x, 10 * np.sin(x[:, 0] / 4) + x[:, 1] + 40, [f"g{n % 12}" for n in range(60)]


@pytest.mark.parametrize("items", [60, 5])  # more items than features, and fewer
def test_a_ridge_is_scikit_learns(data, items):
    Ridge = pytest.importorskip("sklearn.linear_model").Ridge
    x, y = data[0][:items], data[1][:items]
    z = (x - x.mean(0)) / x.std(0)
    expected = Ridge(alpha=0.1 * items).fit(z, y).predict(z)
    np.testing.assert_allclose(regression.predict(regression._ridge(x, y, 0.1), x), expected, rtol=1e-5)


def test_support_vectors_are_scikit_learns(data):
    SVR = pytest.importorskip("sklearn.svm").SVR
    x, y, _ = data
    z = (x - x.mean(0)) / x.std(0)
    expected = SVR(C=10.0, gamma=1 / 7, epsilon=0.1).fit(z, (y - y.mean()) / y.std()).predict(z) * y.std() + y.mean()
    np.testing.assert_allclose(regression.predict(regression._support_vectors(x, y, 10.0), x), expected, rtol=1e-4)


def test_the_strength_is_chosen_on_contents_left_out(data):
    rng = np.random.default_rng(1)
    x, groups = rng.normal(size=(40, 30)), [f"g{n // 4}" for n in range(40)]
    y = x[:, 0] + rng.normal(0, 2, 40)  # mostly noise: the least shrinking setting is the worst
    chosen = regression.ridge(x, y, groups)["svr.weight"].norm()
    assert chosen < regression._ridge(x, y, regression.STRENGTHS[0])["svr.weight"].norm()
    one = regression.ridge(x, y, ["g"] * 40)["svr.weight"]  # a single content: the middle setting
    np.testing.assert_array_equal(one, regression._ridge(x, y, regression.STRENGTHS[2])["svr.weight"])


def test_a_linear_state_by_hand():
    state = regression.linear([2.0], 1.0)
    np.testing.assert_allclose(regression.predict(state, np.array([[3.0], [-1.0]])), [7.0, -1.0])
