"""The decoder: the Llama architecture in plain torch, with Hugging Face's names for its weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aigrid.factory.recipe import ModelDials

ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-5


def rotary_angles(context: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary position embedding (arXiv:2104.09864), half-rotation convention.

    Returns:
        Two tensors [context, head_size]; the second half of a row repeats its first half.
    """
    frequency = 1.0 / ROPE_THETA ** (torch.arange(0, head_size, 2).float() / head_size)
    angle = torch.outer(torch.arange(context).float(), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + head_size/2) of [..., sequence, head_size] by their angles."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):  # type: ignore[misc]
    """Causal grouped-query attention (arXiv:2305.13245) with rotary positions."""

    def __init__(self, dials: ModelDials) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = dials.heads, dials.kv_heads, dials.head_size
        kv_width = dials.kv_heads * dials.head_size
        self.q_proj = nn.Linear(dials.width, dials.width, bias=False)
        self.k_proj = nn.Linear(dials.width, kv_width, bias=False)
        self.v_proj = nn.Linear(dials.width, kv_width, bias=False)
        self.o_proj = nn.Linear(dials.width, dials.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, sequence, width] to the same shape."""
        batch, length, width = x.shape
        q = self._heads(self.q_proj(x), self.heads)
        k = self._heads(self.k_proj(x), self.kv_heads)
        v = self._heads(self.v_proj(x), self.kv_heads)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        shared = self.heads // self.kv_heads
        k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
        mixed = functional.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], heads, self.head_size).transpose(1, 2)


class FeedForward(nn.Module):  # type: ignore[misc]
    """SwiGLU (arXiv:2002.05202)."""

    def __init__(self, dials: ModelDials) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dials.width, dials.hidden_size, bias=False)
        self.up_proj = nn.Linear(dials.width, dials.hidden_size, bias=False)
        self.down_proj = nn.Linear(dials.hidden_size, dials.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, sequence, width] to the same shape."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then feed-forward, each behind RMSNorm and added to what came in."""

    def __init__(self, dials: ModelDials) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(dials.width, eps=NORM_EPSILON)
        self.self_attn = Attention(dials)
        self.post_attention_layernorm = nn.RMSNorm(dials.width, eps=NORM_EPSILON)
        self.mlp = FeedForward(dials)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, sequence, width] to the same shape."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Backbone(nn.Module):  # type: ignore[misc]
    """Embedding, layers and the last norm."""

    cos: Tensor
    sin: Tensor

    def __init__(self, dials: ModelDials, vocab_size: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, dials.width)
        self.layers = nn.ModuleList(Layer(dials) for _ in range(dials.layers))
        self.norm = nn.RMSNorm(dials.width, eps=NORM_EPSILON)
        cos, sin = rotary_angles(dials.context, dials.head_size)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, sequence] token ids to [batch, sequence, width]."""
        length = tokens.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        normal: Tensor = self.norm(x)
        return normal


class Decoder(nn.Module):  # type: ignore[misc]
    """A decoder-only language model; output and input embedding are one matrix."""

    def __init__(self, dials: ModelDials, vocab_size: int) -> None:
        super().__init__()
        self.dials, self.vocab_size = dials, vocab_size
        self.model = Backbone(dials, vocab_size)
        self._initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, sequence] token ids to logits [batch, sequence, vocab]."""
        return functional.linear(self.model(tokens), self.model.embed_tokens.weight)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats of `targets` [batch, sequence], each the next token."""
        logits = self(tokens).float().view(-1, self.vocab_size)
        return functional.cross_entropy(logits, targets.reshape(-1))

    def parameter_count(self) -> int:
        """Weights, the shared embedding counted once."""
        return sum(p.numel() for p in self.parameters())

    def _initialise(self) -> None:
        """Normal with 0.02; what adds to the residual is scaled by its depth, as GPT-2 does."""
        residual = 0.02 / math.sqrt(2 * self.dials.layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=residual if last else 0.02)

    def config(self, bos_token_id: int, eos_token_id: int) -> dict[str, Any]:
        """What `config.json` holds: the same model as Hugging Face describes it."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.dials.width,
            "intermediate_size": self.dials.hidden_size,
            "num_hidden_layers": self.dials.layers,
            "num_attention_heads": self.dials.heads,
            "num_key_value_heads": self.dials.kv_heads,
            "head_dim": self.dials.head_size,
            "hidden_act": "silu",
            "max_position_embeddings": self.dials.context,
            "rms_norm_eps": NORM_EPSILON,
            "rope_theta": ROPE_THETA,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": bos_token_id,
            "eos_token_id": eos_token_id,
            "initializer_range": 0.02,
            "torch_dtype": "float32",
        }
