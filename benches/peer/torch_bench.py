"""The jobs of `bench_vit` on PyTorch, timm and torchvision: the same command line, the same JSON line.

PyTorch gets what makes it fast: timm's fused attention, the fused AdamW, inference mode, gradients
set to none, two parameter groups.
"""

import argparse
import json
import os
import resource
import statistics
import time

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from torch_mae import MaskedAutoencoder

CLASSES = 1000
LORA_RANK = 8
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.05
ENCODERS = {  # width, blocks, heads
    "vit_tiny": (192, 12, 3),
    "vit_small": (384, 12, 6),
    "vit_base": (768, 12, 12),
    "vit_large": (1024, 24, 16),
    "vit_huge": (1280, 32, 16),
}


class LoraQkv(nn.Module):
    """Low-rank updates of query and value (Hu et al., arXiv 2106.09685) of a frozen projection."""

    def __init__(self, qkv, rank):
        super().__init__()
        self.qkv, self.dim, self.scaling = qkv, qkv.in_features, 2.0
        self.a_q = nn.Linear(self.dim, rank, bias=False)
        self.b_q = nn.Linear(rank, self.dim, bias=False)
        self.a_v = nn.Linear(self.dim, rank, bias=False)
        self.b_v = nn.Linear(rank, self.dim, bias=False)
        nn.init.zeros_(self.b_q.weight)
        nn.init.zeros_(self.b_v.weight)

    def forward(self, x):
        y = self.qkv(x)
        y[..., :self.dim] += self.scaling * self.b_q(self.a_q(x))
        y[..., -self.dim:] += self.scaling * self.b_v(self.a_v(x))
        return y


def classifier(args):
    if not args.model.startswith("vit_"):
        return torchvision.models.get_model(args.model, weights=None, num_classes=CLASSES)
    model = timm.create_model(
        f"{args.model}_224", pretrained=False, num_classes=CLASSES, img_size=args.img_size)
    if args.job == "lora":
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        for block in model.blocks:
            block.attn.qkv = LoraQkv(block.attn.qkv, LORA_RANK)
    return model


def autoencoder(args):
    name, patch = args.model.rsplit("_patch", 1)
    dim, depth, heads = ENCODERS[name]
    return MaskedAutoencoder(args.img_size, int(patch), dim, depth, heads)


def optimizer_of(args, model):
    """AdamW with the groups of fine-tuning: no decay for vectors, class token and positions."""
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim <= 1 or name in ("pos_embed", "cls_token") and args.job != "mae"
            groups[plain].append(parameter)
    groups = [
        {"params": groups[True], "weight_decay": 0.0},
        {"params": groups[False], "weight_decay": WEIGHT_DECAY},
    ]
    betas = (0.9, 0.95) if args.job == "mae" else (0.9, 0.999)
    kind = {args.adamw: True} if args.adamw != "plain" else {"fused": False, "foreach": False}
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=betas, **kind)


def pictures(args):
    """The pictures and classes every system gets."""
    count = args.batch_size * 3 * args.img_size**2
    i = torch.arange(count, dtype=torch.float64)
    values = (0.013 * i + 0.5 * (0.37 * i).cos()).sin().float()
    shape = (args.batch_size, 3, args.img_size, args.img_size)
    return values.reshape(shape), torch.arange(args.batch_size) % CLASSES


def infer_job(args, model):
    images, targets = pictures(args)
    model.eval()

    @torch.inference_mode()
    def step():
        start = time.perf_counter()
        logits = model(images)
        seconds = time.perf_counter() - start
        return seconds, F.cross_entropy(logits, targets).item()

    return step


def train_job(args, model):
    images, targets = pictures(args)
    optimizer = optimizer_of(args, model)
    model.train()

    def step():
        start = time.perf_counter()
        loss = model(images) if args.job == "mae" else F.cross_entropy(model(images), targets)
        value = loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start, value

    return step


def adamw_job(args, model):
    optimizer = optimizer_of(args, model)
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 1e-2

    def step():
        start = time.perf_counter()
        optimizer.step()
        return time.perf_counter() - start, None

    return step


def memory(field):
    """Bytes of /proc/self/status: VmHWM, the most that was resident, or VmRSS, what is now."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith(field + ":"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return None


def minor_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", choices=["infer", "train", "mae", "lora", "adamw"],
                        default="infer")
    parser.add_argument("--model", default="vit_base_patch16")
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int,
                        default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    parser.add_argument("--adamw", choices=["fused", "foreach", "plain"], default="fused")
    parser.add_argument("--json", action="store_true", help="accepted; the output always is JSON")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    start_bytes = memory("VmRSS")
    model = autoencoder(args) if args.job == "mae" else classifier(args)
    job = {"infer": infer_job, "adamw": adamw_job}.get(args.job, train_job)
    step = job(args, model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    for _ in range(args.warmup):
        step()
    results, faults = [], []
    for _ in range(args.steps):
        before = minor_faults()
        results.append(step())
        faults.append(minor_faults() - before)
    seconds = [result[0] for result in results]
    median, best = statistics.median(seconds), min(seconds)
    images = None if args.job == "adamw" else args.batch_size
    print(json.dumps({
        "system": "pytorch",
        "job": args.job,
        "model": args.model,
        "img_size": args.img_size,
        "batch_size": args.batch_size,
        "threads": torch.get_num_threads(),
        "params": sum(p.numel() for p in model.parameters()),
        "params_trained": 0 if args.job == "infer" else trained,
        "warmup": args.warmup,
        "steps": args.steps,
        "seconds_median": median,
        "seconds_best": best,
        "images_per_s_median": images and images / median,
        "images_per_s_best": images and images / best,
        "start_bytes": start_bytes,
        "peak_bytes": memory("VmHWM"),
        "page_faults_per_step": statistics.median(faults),
        "first_loss": results[0][1],
        "last_loss": results[-1][1],
        "version": f"torch {torch.__version__}, timm {timm.__version__}, "
                   f"torchvision {torchvision.__version__}",
    }))


if __name__ == "__main__":
    main()
