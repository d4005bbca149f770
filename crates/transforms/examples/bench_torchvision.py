"""The counterpart of bench_pipeline.rs: torchvision on Pillow, one thread.

    python3 -m venv venv && venv/bin/pip install torch torchvision pillow
    venv/bin/python bench_torchvision.py PICTURE...
"""

import io
import sys
import time

import torch
from PIL import Image
from torchvision import transforms as T

torch.set_num_threads(1)
pipeline = T.Compose([
    T.RandomResizedCrop(224, scale=(0.08, 1.0), interpolation=T.InterpolationMode.BICUBIC),
    T.RandomHorizontalFlip(),
    T.ToTensor(),
    T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])


def measure(call, rounds=60, pictures=10):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(pictures):
            call()
        times.append((time.perf_counter() - start) * 1e3 / pictures)
    times.sort()
    return times[rounds // 2], times[0]


for path in sys.argv[1:]:
    with open(path, "rb") as file:
        data = file.read()

    def decode():
        return Image.open(io.BytesIO(data)).convert("RGB")

    whole, alone = measure(lambda: pipeline(decode())), measure(decode)
    print(f"{path}: {whole[0]:.3f} ms (least {whole[1]:.3f}), "
          f"decoding {alone[0]:.3f} ms (least {alone[1]:.3f})")
