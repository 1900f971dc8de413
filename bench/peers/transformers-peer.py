"""Hugging Face transformers as a peer of `npm run bench -- peers`: it answers orders from standard input, one JSON object a line.

    {"dtype": "float32", "prompts": [[id, ...], ...], "new": n}   prompts of one length, n tokens each, greedy, no stop token
    -> {"tokens": [[id, ...], ...], "seconds": [...]}             seconds from the order to each step's tokens

It opens with {"versions": {...}}, or says what is missing: {"missing": "..."}. generate() as anyone calls it: cache on, eval,
the experts' implementation that transformers itself chooses. It knows nothing of what it is compared with.

    python3 bench/peers/transformers-peer.py CHECKPOINT THREADS [DEVICE]     cpu or cuda
"""
import json, os, sys, time

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
try:
    import torch, transformers, safetensors
except ImportError as error:
    print(json.dumps({"missing": str(error)}), flush=True)
    sys.exit(0)

CHECKPOINT, THREADS = sys.argv[1], int(sys.argv[2])
DEVICE = sys.argv[3] if len(sys.argv) > 3 else "cpu"
if DEVICE == "cuda" and not torch.cuda.is_available():
    print(json.dumps({"missing": "torch sees no GPU"}), flush=True)
    sys.exit(0)
torch.set_num_threads(THREADS)
transformers.utils.logging.disable_progress_bar()
models = {}


def model_of(name):
    if name not in models:
        dtype = getattr(torch, name)
        models[name] = transformers.AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=dtype).to(DEVICE).eval()
    return models[name]


class Clock(transformers.StoppingCriteria):
    """Looks at the clock after each step; stops nothing."""

    def __init__(self):
        self.started, self.seconds = time.perf_counter(), []

    def __call__(self, ids, scores, **kwargs):
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.started)
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)


print(json.dumps({"versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                               "safetensors": safetensors.__version__}}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    model = model_of(order["dtype"])
    prompts = torch.tensor(order["prompts"], device=DEVICE)
    clock = Clock()
    made = model.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=order["new"], do_sample=False,
                          eos_token_id=None, pad_token_id=0, stopping_criteria=[clock])
    print(json.dumps({"tokens": made[:, prompts.shape[1]:].tolist(), "seconds": clock.seconds}), flush=True)
