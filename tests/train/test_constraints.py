import math

import pytest
import torch

from train.architectures.dense import Dense
from train.constraints import CONSTRAINTS, Contractive, KLSparsity, Situation, Variational
from train.errors import SettingsError


def situation(network, x, statistics, critic=None, seed=0) -> Situation:
    latent = statistics[:, : network.latent_dims]
    return Situation(network, x, statistics, latent, torch.Generator().manual_seed(seed), critic)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def linear() -> torch.nn.Module:
    """A network whose encoder is one matrix, so that its Jacobian is known."""
    return Dense(dims=6, widths=()).build(8, 3)


def test_the_exact_jacobian_norm_of_a_matrix_is_its_frobenius_norm(linear, images):
    x = images.requires_grad_(True)
    found = Contractive(projections=0).figures(situation(linear, x, linear.statistics(x)))
    assert found["jacobian_norm"] == pytest.approx(float(linear.encoder[0].weight.detach().norm()), rel=1e-4)


def test_random_projections_estimate_the_exact_norm(linear, images):
    x = images.requires_grad_(True)
    exact = float(linear.encoder[0].weight.detach().square().sum())
    here = situation(linear, x, linear.statistics(x))
    estimate = float(Contractive(weight=1.0, projections=200).penalty(here).detach()) * linear.latent_dims
    assert estimate == pytest.approx(exact, rel=0.1)


def test_a_contractive_penalty_moves_the_weights(linear, images):
    x = images.requires_grad_(True)
    Contractive().penalty(situation(linear, x, linear.statistics(x))).backward()
    assert float(linear.encoder[0].weight.grad.norm()) > 0


def test_the_divergence_of_a_standard_normal_is_zero_and_of_others_that_of_the_book(images):
    network = Dense(dims=2, widths=()).build(8, 3, outputs=2)
    standard = torch.zeros(5, 4)
    assert Variational().figures(situation(network, images, standard))["kl"] == pytest.approx(0)
    shifted = torch.tensor([[1.0, 0.0, 0.0, math.log(4)]]).expand(5, -1)
    expected = 0.5 * 1 + 0.5 * (4 - 1 - math.log(4))
    assert Variational().figures(situation(network, images, shifted))["kl"] == pytest.approx(expected, rel=1e-5)


def test_a_variational_code_is_drawn_around_its_mean_by_its_deviation():
    statistics = torch.tensor([[3.0, math.log(0.25)]]).expand(20_000, -1)
    drawn = Variational().draw(statistics, torch.Generator().manual_seed(0))
    assert float(drawn.mean()) == pytest.approx(3, abs=0.02)
    assert float(drawn.std()) == pytest.approx(0.5, abs=0.02)


def test_units_that_are_on_as_often_as_wanted_cost_nothing(linear, images):
    on_target = torch.full((5, 6), 0.05)
    assert float(KLSparsity(target=0.05).penalty(situation(linear, images, on_target))) == pytest.approx(0, abs=1e-6)
    assert float(KLSparsity(target=0.05).penalty(situation(linear, images, on_target * 4))) > 1e-4


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_every_constraint_costs_a_finite_number_and_reports_its_own_quantity(kind, images):
    constraint = CONSTRAINTS[kind]()
    settings = Dense(dims=6, widths=(8,), code_activation="sigmoid" if kind == "kl_sparsity" else "linear")
    network = settings.build(8, 3, constraint.outputs)
    x = images.requires_grad_(constraint.wants_gradient)
    here = situation(network, x, network.statistics(x), constraint.critic(network))
    assert math.isfinite(float(constraint.penalty(here).detach()))
    assert all(math.isfinite(value) for value in constraint.figures(here).values())


@pytest.mark.parametrize("settings", [{"weight": 0.0}, {"weight": float("nan")}])
def test_a_weight_that_is_no_weight_is_refused(settings):
    with pytest.raises(SettingsError, match="must be more than 0"):
        CONSTRAINTS["l1"](**settings)
