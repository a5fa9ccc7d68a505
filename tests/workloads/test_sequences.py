"""Sequence networks: attention against its definition and looking back only, the recurrent unit against torch's."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from bpfree.workloads.networks import Network
from bpfree.workloads.sequences import EXPANSION, RecurrentBlock, TransformerBlock, transformer

SYMBOLS, POSITIONS, WIDTH = 11, 9, 8


def noisy(module: nn.Module, seed: int = 0) -> nn.Module:
    """In float64 and with all parameters in play."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    made = transformer(SYMBOLS, POSITIONS, (WIDTH, WIDTH), heads=2)
    for module in (*made.blocks, made.head):
        noisy(module)
    return made


def scores(network: Network, text_BT: Tensor) -> Tensor:
    """Shape (B, T, symbols)."""
    a = text_BT
    for block in network.blocks:
        a = block(a)
    return network.head(a).detach().view(*text_BT.shape, SYMBOLS)


def text(samples: int) -> Tensor:
    return torch.randint(SYMBOLS, (samples, POSITIONS), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("changed", range(POSITIONS))
def test_a_character_changes_no_score_before_it_and_some_from_it_on(network: Network, changed: int) -> None:
    before = text(4)
    after = before.clone()
    after[:, changed] = (after[:, changed] + 1) % SYMBOLS
    difference = (scores(network, after) - scores(network, before)).abs().amax((0, 2))
    assert not difference[:changed].any()
    assert (difference[changed:] > 1e-6).all()


def test_the_order_of_earlier_characters_counts(network: Network) -> None:
    before = torch.arange(POSITIONS)[None]
    swapped = before[:, [1, 0, *range(2, POSITIONS)]]
    assert (scores(network, before) - scores(network, swapped))[:, -1].abs().max() > 1e-6


def test_scores_lie_sample_by_sample_and_position_by_position(network: Network) -> None:
    both = text(2)
    assert_close(scores(network, both)[1:], scores(network, both[1:]))


def test_attention_is_its_definition() -> None:
    """One position, one head and one earlier position at a time."""
    heads, size = 2, WIDTH // 2
    torch.manual_seed(0)
    block = noisy(TransformerBlock(POSITIONS, WIDTH, heads))
    x_TN = torch.randn(POSITIONS, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        q_TN, k_TN, v_TN = block.query_key_value(x_TN).chunk(3, 1)
        mixed_TN = torch.zeros_like(x_TN)
        for head in range(heads):
            units = slice(head * size, (head + 1) * size)
            for t in range(POSITIONS):
                weights = [math.exp(q_TN[t, units] @ k_TN[s, units] / math.sqrt(size)) for s in range(t + 1)]
                for s, weight in enumerate(weights):
                    mixed_TN[t, units] += weight / sum(weights) * v_TN[s, units]
        assert_close(block.attention(x_TN[None])[0], block.output(mixed_TN), rtol=1e-10, atol=1e-12)


def test_a_transformer_block_is_torchs() -> None:
    torch.manual_seed(0)
    block = noisy(TransformerBlock(POSITIONS, WIDTH, 2))
    theirs = nn.TransformerEncoderLayer(
        WIDTH, 2, EXPANSION * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True,
        dtype=torch.float64,
    )  # fmt: skip
    pairs = {
        "self_attn.in_proj_": block.query_key_value, "self_attn.out_proj.": block.output, "linear1.": block.up,
        "linear2.": block.down, "norm1.": block.norm_attention, "norm2.": block.norm_dense,
    }  # fmt: skip
    theirs.load_state_dict(
        {f"{name}{key}": value for name, m in pairs.items() for key, value in m.state_dict().items()}
    )
    x_BTN = torch.randn(3, POSITIONS, WIDTH, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(POSITIONS, dtype=torch.float64)
    assert_close(block(x_BTN), theirs(x_BTN, mask, is_causal=True), rtol=1e-10, atol=1e-12)


def test_the_mask_is_no_weight() -> None:
    assert "mask_TT" not in TransformerBlock(POSITIONS, WIDTH, 2).state_dict()


def test_widths_of_a_transformer_are_one() -> None:
    with pytest.raises(ValueError, match="unpack"):
        transformer(SYMBOLS, POSITIONS, (8, 16))


def test_the_recurrent_unit_is_torchs() -> None:
    inputs, width = 5, 4
    torch.manual_seed(0)
    block = noisy(RecurrentBlock(inputs, width))
    theirs = nn.GRU(inputs, width, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "weight_ih_l0": block.weight.detach(),
            "weight_hh_l0": block.recurrent.detach(),
            "bias_ih_l0": block.bias.detach(),
            "bias_hh_l0": torch.cat((torch.zeros(2 * width), block.candidate_bias.detach())),
        }
    )
    x_BTD = torch.randn(6, 7, inputs, dtype=torch.float64, requires_grad=True)
    all_states, (last,) = theirs(x_BTD)
    da = torch.randn(6, width, dtype=torch.float64)
    wanted = torch.autograd.grad(last, [x_BTD, *theirs.parameters()], da)

    h_BN, pullback = block.vjp(x_BTD, through=True)
    assert_close(h_BN, last.detach(), rtol=1e-12, atol=1e-13)
    assert_close(h_BN, all_states[:, -1].detach(), rtol=1e-12, atol=1e-13)
    dx_BTD = pullback(da).view_as(x_BTD)
    found = [dx_BTD, block.weight.grad, block.recurrent.grad, block.bias.grad, block.candidate_bias.grad]
    for ours, grad in zip(found, [*wanted[:4], wanted[4][2 * width :]], strict=True):
        assert_close(ours, grad, rtol=1e-10, atol=1e-12)
