"""Loads what we write with the libraries it is written for, and compares their answers.

    cargo build --release --example doctor
    pip install torch timm transformers
    python scripts/interop.py [--doctor target/release/examples/doctor]

Every fixture of crates/vit-models/tests/fixtures/weights is converted by the doctor. timm builds the
model from the written `config.json` alone (`local-dir:`), loads with `strict=True`; transformers loads
with `from_pretrained`, and any key that is missing, unexpected or of another shape fails. Outputs are
compared with those that were recorded when the fixture was made. Exit code 0 when all agree.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import timm
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "crates/vit-models/tests/fixtures/weights"
BOUND = 1e-5
# Why a fixture is not written for a library: it has no such model.
NO_MODEL = {
    ("timm_reg_swiglu", "hf"): "fc_norm", ("mae_finetuned", "hf"): "fc_norm",
    ("timm_qk_norm", "hf"): "no square grid, qk-norm", ("timm_qk_norm", "timm"): "no square grid",
}


def largest(got, want):
    assert got.shape == want.shape, (got.shape, want.shape)
    return (got - want).abs().max().item()


def timm_outputs(folder):
    config = json.loads((folder / "config.json").read_text())
    # Heads are not in a bare weight file: fixtures have two.
    arguments = config["model_args"] | {"num_heads": 2}
    arguments = {key: value for key, value in arguments.items() if value is not None}
    # timm's configuration has no place for an epsilon; models of Hugging Face have 1e-12.
    with safe_open(folder / "model.safetensors", "pt") as file:
        eps = json.loads(file.metadata()["vitalight"])["model_card"]["config"]["layer_norm_eps"]
    if eps != 1e-6:
        arguments["norm_layer"] = partial(torch.nn.LayerNorm, eps=eps)
    model = timm.create_model(config["architecture"], pretrained=False, num_classes=config["num_classes"], **arguments)
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval()


def from_folder(folder):
    """As a user has it: timm reads the folder itself."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def timm_compare(folder, expected):
    model = timm_outputs(folder)
    from_folder(folder)
    x, out = expected["input"], {}
    out["tokens"] = largest(model.forward_features(x), expected["tokens"])
    if "logits" in expected:
        out["logits"] = largest(model(x), expected["logits"])
    return out


def hf_compare(folder, expected):
    config = json.loads((folder / "config.json").read_text())
    config["num_attention_heads"] = 2
    if "decoder_num_attention_heads" in config:
        config["decoder_num_attention_heads"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    name = config["architectures"][0]
    options = {"add_pooling_layer": False} if name in ("ViTModel", "DeiTModel") else {}
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True, **options)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[key], (name, key, info[key])
    model.eval()
    x, out = expected["input"], {}
    if name == "ViTMAEForPreTraining":
        model.config.mask_ratio = model.vit.embeddings.config.mask_ratio = 0.0
        count = (model.config.image_size // model.config.patch_size) ** 2
        tokens = model.vit(x, noise=torch.arange(count).repeat(len(x), 1) / count).last_hidden_state
    elif name.endswith("Model"):
        tokens = model(x).last_hidden_state
    else:
        tokens = getattr(model, model.base_model_prefix)(x).last_hidden_state
        out["logits"] = largest(model(x).logits, expected["logits"])
    out["tokens"] = largest(tokens, expected["tokens"])
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--doctor", default=str(ROOT / "target/release/examples/doctor"))
    doctor = parser.parse_args().doctor
    print(f"torch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}")
    transformers.logging.set_verbosity_error()
    torch.set_grad_enabled(False)
    failures = 0
    for name, about in json.loads((FIXTURES / "models.json").read_text())["models"].items():
        if about["config"] is None:
            continue
        expected = load_file(FIXTURES / f"{name}.expected.safetensors")
        if "tokens" not in expected:
            continue
        for layout, compare in [("timm", timm_compare), ("hf", hf_compare)]:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "out"
                run = subprocess.run([doctor, str(FIXTURES / about["file"]), "--convert", layout, str(folder)], capture_output=True, text=True)
                if (name, layout) in NO_MODEL:
                    print(f"{name:<18} {layout:<5} no model there: {NO_MODEL[name, layout]}")
                    continue
                try:
                    assert run.returncode == 0, run.stdout + run.stderr
                    worst = compare(folder, expected)
                    failed = max(worst.values()) > BOUND
                    values = "  ".join(f"{key} {value:.1e}" for key, value in worst.items())
                except Exception as error:  # the table should be whole
                    failed, values = True, f"{type(error).__name__}: {error}"
                failures += failed
                print(f"{name:<18} {layout:<5} {'FAILED' if failed else 'equal'}  {values}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
