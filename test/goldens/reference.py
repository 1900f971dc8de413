"""A checkpoint folder through Hugging Face transformers in float32: what the goldens' expectations are computed with.

`load` gives the class's own model by `from_pretrained(dtype=torch.float32, attn_implementation="eager")`. Quantised
weights are turned into float32 here, by the formulas below (transformers would ask for other packages, and would round),
written to a temporary folder as a plain checkpoint, and loaded from there in the same way. `expectations` runs the model.
Knows no golden by name, and no quantisation but the two that are spelled out.
"""
import glob, json, re, tempfile
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()
GREEDY_TOKENS = 24
# Goes into every file of expectations.
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__}


def stored_tensors(folder):
    tensors = {}
    for path in sorted(glob.glob(f"{folder}/model*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    return tensors


def unpack(packed, bits, count, axis):
    """i32 words, each 32 / bits values, lowest bits first -> i32 with `count` values along `axis`, 0 ... 2^bits - 1."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    words = packed.movedim(axis, -1)
    values = (words[..., None] >> shifts) & (2 ** bits - 1)
    return values.flatten(-2)[..., :count].movedim(-1, axis)


def dequantise_packed(tensors, module, scheme):
    """compressed-tensors pack-quantized: w = (u - z) * scale of the column's group; z = 2^(bits - 1) when symmetric."""
    bits = scheme["num_bits"]
    rows, columns = tensors[f"{module}.weight_shape"].tolist()
    values = unpack(tensors[f"{module}.weight_packed"], bits, columns, 1)
    scale = tensors[f"{module}.weight_scale"].float()
    group = scheme["group_size"] if scheme["strategy"] == "group" else columns
    scale = scale.repeat_interleave(group, 1)[:, :columns].expand(rows, columns)
    zero = torch.full((rows, columns), 2 ** (bits - 1), dtype=torch.int32)
    if f"{module}.weight_zero_point" in tensors:
        zero = unpack(tensors[f"{module}.weight_zero_point"], bits, rows, 0).repeat_interleave(group, 1)[:, :columns]
    return (values - zero).float() * scale


def dequantise_fp8(tensors, module, block):
    """e4m3 weights, one scale a block of [rows, columns]; blocks at the edges are short."""
    weight = tensors[f"{module}.weight"].float()
    scale = tensors[f"{module}.weight_scale_inv"].float()
    scale = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    return weight * scale[: weight.shape[0], : weight.shape[1]]


def plain_tensors(folder, round_weights=None):
    """(config, tensors) of a plain checkpoint with the folder's weights: quantised ones dequantised to float32 (and
    rounded to `round_weights`, if given), a fused shared expert split, what is no part of the model left out."""
    config = json.load(open(f"{folder}/config.json"))
    tensors = stored_tensors(folder)
    quantization = config.pop("quantization_config", None)
    rounded = lambda weight: weight if round_weights is None else weight.to(round_weights).float()
    plain = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        layer = re.match(r"model\.layers\.(\d+)\.", name)
        if name.endswith("inv_freq") or (layer and int(layer[1]) >= config["num_hidden_layers"]):
            continue  # a buffer of old files; a layer that predicts further tokens
        if part == "weight_packed":
            plain[f"{module}.weight"] = rounded(dequantise_packed(tensors, module, scheme_of(quantization, module)))
        elif part == "weight" and f"{module}.weight_scale_inv" in tensors:
            plain[name] = rounded(dequantise_fp8(tensors, module, quantization["weight_block_size"]))
        elif module.endswith("shared_experts.gate_up_proj"):
            gate, up = tensor.chunk(2)
            plain[name.replace("gate_up_proj", "gate_proj")], plain[name.replace("gate_up_proj", "up_proj")] = gate, up
        elif part not in ("weight_scale", "weight_shape", "weight_zero_point", "weight_scale_inv"):
            plain[name] = tensor
    return config, plain


def scheme_of(quantization, module):
    """The first group that names the module; "Linear" names all."""
    for group in quantization["config_groups"].values():
        for target in group["targets"]:
            if target == "Linear" or target == module or (target[:3] == "re:" and re.match(target[3:], module)):
                return group["weights"]
    raise ValueError(f"no scheme for {module}")


def load(folder, round_weights=None):
    """The model in float32. Fails when the checkpoint and the class disagree about a tensor."""
    config, tensors = plain_tensors(folder, round_weights)
    if tensors.keys() == stored_tensors(folder).keys() and "quantization_config" not in open(f"{folder}/config.json").read():
        return from_pretrained(folder, config)
    with tempfile.TemporaryDirectory() as plain:
        # One type for all: from_pretrained would widen each anyway.
        save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, f"{plain}/model.safetensors",
                  {"format": "pt"})
        json.dump(config, open(f"{plain}/config.json", "w"))
        return from_pretrained(plain, config)


def from_pretrained(folder, config):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    may_lack = [r".*e_score_correction_bias"]  # without one the router adds zeros
    may_have = [r"model\.layers\.\d+\.(mlp\.)?post_mlp_layernorm\.weight"]  # of dense layers: not applied there
    if config["n_shared_experts"] == 0:
        may_lack.append(r".*shared_experts.*")  # of width 0
    if config["tie_word_embeddings"]:
        may_lack.append(r"lm_head\.weight")
    beyond = lambda names, allowed: [name for name in names if not any(re.fullmatch(one, name) for one in allowed)]
    missing, unexpected = beyond(info["missing_keys"], may_lack), beyond(info["unexpected_keys"], may_have)
    if missing or unexpected or info["mismatched_keys"]:
        raise ValueError(f"{folder}: missing {missing}, unexpected {unexpected}, mismatched {info['mismatched_keys']}")
    return model.eval()


def round_frequencies(model, dtype):
    """What a cast of the whole model to `dtype` and back leaves of the inverse RoPE frequencies."""
    for name in ("inv_freq", "original_inv_freq"):
        buffer = getattr(model.model.rotary_emb, name)
        buffer.copy_(buffer.to(dtype).float())


@torch.no_grad()
def expectations(model, prompts):
    """{ids.k, logits.k, greedy.k, experts.k.layer} of prompts {k: i32 [T]}: one causal forward each, then greedy tokens."""
    picked, out = {}, {}
    for index, layer in enumerate(model.model.layers):
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate.register_forward_hook(lambda _, __, result, index=index: picked.__setitem__(index, result[2]))
    for key, ids in prompts.items():
        tokens = ids.long()[None]
        out[f"ids.{key}"] = ids.to(torch.int32)
        out[f"logits.{key}"] = model(tokens, use_cache=False).logits[0].float().contiguous()
        for index, experts in picked.items():
            out[f"experts.{key}.{index}"] = experts.reshape(len(ids), -1).sort(-1)[0].to(torch.int32).contiguous()
        for _ in range(GREEDY_TOKENS):
            last = model(tokens, use_cache=False).logits[0, -1]
            tokens = torch.cat([tokens, last.argmax()[None, None]], 1)
        out[f"greedy.{key}"] = tokens[0, len(ids):].to(torch.int32)
    return out


def worst_nmse(got, wanted):
    """The largest error of a position, relative to the size of its logits."""
    got, wanted = got.double(), wanted.double()
    return ((got - wanted).square().sum(-1) / wanted.square().sum(-1)).max().item()


def compare(got, wanted):
    """(worst NMSE of any position, routed experts equal, greedy equal) of two sets of expectations."""
    logits = [name for name in wanted if name.startswith("logits.")]
    same = lambda start: all(torch.equal(got[name], wanted[name]) for name in wanted if name.startswith(start))
    return max(worst_nmse(got[name], wanted[name]) for name in logits), same("experts."), same("greedy.")


def prompts_of(expected):
    return {name[4:]: ids for name, ids in expected.items() if name.startswith("ids.")}
