"""The counterpart of bench_loader.rs with 0 workers: torchvision on Pillow, one thread.

    python3 -m venv venv && venv/bin/pip install torch torchvision pillow
    venv/bin/python bench_torchvision.py FOLDER...
"""

import pathlib
import random
import sys
import time

import torch
from PIL import Image
from torchvision import transforms as T

torch.set_num_threads(1)
random.seed(1)
pipeline = T.Compose([
    T.RandomResizedCrop(224, scale=(0.08, 1.0), interpolation=T.InterpolationMode.BICUBIC),
    T.RandomHorizontalFlip(),
    T.ToTensor(),
    T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])

for folder in sys.argv[1:]:
    files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix in (".png", ".jpg"))
    rates, used = [], 0.0
    for turn in range(16):
        chosen = random.choices(files, k=256)
        start, before = time.perf_counter(), time.process_time()
        for at in range(0, 256, 32):
            batch = [pipeline(Image.open(path).convert("RGB")) for path in chosen[at:at + 32]]
            torch.stack(batch)
        rates.append(256 / (time.perf_counter() - start))
        used += (time.process_time() - before) * (turn > 0)
    rates = sorted(rates[1:])
    print(f"{folder}: {rates[7]:.0f} images/s (best {rates[-1]:.0f}), "
          f"processor {used * 1e3 / (15 * 256):.3f} ms")
