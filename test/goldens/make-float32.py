"""float32.safetensors of every golden: what transformers says of the checkpoint as anyone would load it in float32.

    python3 test/goldens/make-float32.py [FOLDER ...]

made the files here, with Python 3.11, torch 2.13.0 (CPU, one thread), transformers 5.18.0, safetensors 0.8.0. It writes the
tensors of expected.safetensors anew, from the same prompts, and prints how far the two lie apart (worst NMSE of a position)
as loaded and with each rounding that could explain it: inverse RoPE frequencies rounded to 16 bits, dequantised weights
rounded to bf16. A folder without expected.safetensors (see make-more.py) keeps the prompts of its float32.safetensors.
"""
import sys
sys.dont_write_bytecode = True
import json, os
import torch
from safetensors.torch import load_file, save_file
from reference import VERSIONS, compare, expectations, load, prompts_of, round_frequencies

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def explain(folder, prompts, expected):
    """Prints one line a hypothesis of how the frozen expectation was made."""
    config = json.load(open(f"{folder}/config.json"))
    roundings = [None, torch.bfloat16] if "quantization_config" in config else [None]
    for weights in roundings:
        for frequencies in (torch.float32, TYPES[config["torch_dtype"]]):
            model = load(folder, weights)
            round_frequencies(model, frequencies)
            nmse, experts, greedy = compare(expectations(model, prompts), expected)
            print(f"  weights {'as stored' if weights is None else weights}, frequencies {frequencies}: "
                  f"{nmse:.1e}, experts {'equal' if experts else 'differ'}, greedy {'equal' if greedy else 'differ'}")
            if frequencies == TYPES[config["torch_dtype"]] == torch.float32:
                break


names = sys.argv[1:] or sorted(name for name in os.listdir(HERE) if os.path.exists(f"{HERE}/{name}/config.json"))
for name in names:
    folder = f"{HERE}/{name}"
    print(name, flush=True)
    frozen = f"{folder}/expected.safetensors"
    target = f"{folder}/float32.safetensors"
    before = load_file(frozen if os.path.exists(frozen) else target)
    prompts = prompts_of(before)
    save_file(expectations(load(folder), prompts), target, VERSIONS)
    if os.path.exists(frozen):
        explain(folder, prompts, before)
