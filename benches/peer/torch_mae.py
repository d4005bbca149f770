"""A masked auto-encoder in PyTorch, for timing only.

Written from the published description (He et al., arXiv 2111.06377, and the tensor arithmetic of the
reference implementation as docs and papers describe it): encoder on the visible patches, a decoder of
width 512 with 8 blocks on all of them, mean squared error of the hidden ones against pixels that are
normalised patch by patch.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-6


def sin_cos_table(dim, grid):
    """Fixed positions, [1, 1 + grid^2, dim]: first the column's sines and cosines, then the row's."""
    rate = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rate
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = axis[None].expand(grid, grid, -1)
    rows = axis[:, None].expand(grid, grid, -1)
    table = torch.cat([columns, rows], dim=2).reshape(grid * grid, dim)
    return torch.cat([torch.zeros(1, dim), table.float()])[None]


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class MaskedAutoencoder(nn.Module):
    def __init__(self, img_size, patch, dim, depth, heads, width=512, decoder_depth=8,
                 decoder_heads=16, mask_ratio=0.75):
        super().__init__()
        grid = img_size // patch
        self.patch, self.patches = patch, grid * grid
        self.keep = int(self.patches * (1 - mask_ratio))
        self.patch_embed = nn.Conv2d(3, dim, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(sin_cos_table(dim, grid), requires_grad=False)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.decoder_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(sin_cos_table(width, grid), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(
            Block(width, decoder_heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(width, eps=EPS)
        self.decoder_pred = nn.Linear(width, 3 * patch * patch)
        self.apply(self._init)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        bound = math.sqrt(6 / (dim + 3 * patch * patch))
        nn.init.uniform_(self.patch_embed.weight, -bound, bound)

    @staticmethod
    def _init(module):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def target(self, images):
        """[B, L, p^2 * 3], values ordered (row, column, channel), each patch standardised."""
        batch, channels, height, width = images.shape
        p = self.patch
        cut = images.view(batch, channels, height // p, p, width // p, p)
        patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, self.patches, -1)
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (patches - mean) / (variance + EPS).sqrt()

    def encode(self, images, visible):
        x = self.patch_embed(images).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        x = x.gather(1, visible[:, :, None].expand(-1, -1, x.shape[2]))
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, latent, restore):
        x = self.decoder_embed(latent)
        hidden = self.mask_token.expand(len(x), self.patches - self.keep, -1)
        patches = torch.cat([x[:, 1:], hidden], dim=1)
        patches = patches.gather(1, restore[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :1], patches], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x)[:, 1:])

    def forward(self, images):
        """The loss, with a mask of its own for every picture."""
        order = torch.rand(len(images), self.patches).argsort(dim=1)
        restore = order.argsort(dim=1)
        pred = self.decode(self.encode(images, order[:, :self.keep]), restore)
        per_patch = (pred - self.target(images)).square().mean(dim=-1)
        hidden = (restore >= self.keep).float()
        return (per_patch * hidden).sum() / hidden.sum()
