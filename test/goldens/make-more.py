"""Goldens for what the first eight do not cover: checkpoint, config and float32.safetensors, from seeds.

    python3 test/goldens/make-more.py [NAME ...]

made the folders here (versions: see make-float32.py). Random weights, scaled so that logits have a standard deviation near
1.2; of each folder's seeds the first is taken whose routing and greedy tokens are decisive: no choice hangs on less than
GAP_MIN. What each folder exercises stands beside its config below, and in README.md.
"""
import sys
sys.dont_write_bytecode = True
import json, os, shutil
import torch
from safetensors.torch import save_file
from reference import VERSIONS, expectations, load

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT_TOKENS = (1, 7, 33, 130)
LOGIT_DEVIATION = 1.2
GAP_MIN = 2e-5
SEEDS = 200
KINDS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

BASE = dict(
    architectures=["AXK1ForCausalLM"], model_type="axk1", vocab_size=384, hidden_size=64, intermediate_size=96,
    moe_intermediate_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1,
    n_routed_experts=8, num_experts_per_tok=3, n_group=2, topk_group=1, first_k_dense_replace=1, routed_scaling_factor=2.5,
    norm_topk_prob=True, q_lora_rank=40, kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16,
    rms_norm_eps=1e-6, hidden_act="silu", attention_bias=False, tie_word_embeddings=False, max_position_embeddings=256,
    rope_interleave=True, rope_theta=10000.0, rope_scaling=None, bos_token_id=0, eos_token_id=1, torch_dtype="bfloat16")
DEEPSEEK = dict(architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3")


def yarn(**fields):
    return dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=32.0, beta_slow=1.0, **fields)


def packed_config(**groups):
    """config_groups {name: (targets, weights)}; everything but the router, the embeddings and the head is quantised."""
    return dict(
        quant_method="compressed-tensors", format="pack-quantized", quantization_status="compressed",
        ignore=["lm_head", r"re:.*mlp\.gate$"],
        config_groups={name: dict(targets=targets, input_activations=None, output_activations=None,
                                  weights=dict(type="int", dynamic=False, **weights))
                       for name, (targets, weights) in groups.items()})


GOLDENS = {
    # int4 experts in groups of 20 with zero points, of widths 76 and 36: short last groups (16 columns), a group that is
    # no multiple of 8, words and rows that do not fill; int8 elsewhere in groups of 24 with zero points; f16 scales; tied
    # embeddings (the head is on disk too, and equal); no shared expert; no dense layer; one group; halves RoPE, plain.
    "int4-zero-points": dict(
        BASE, hidden_size=76, moe_intermediate_size=36, intermediate_size=100, torch_dtype="float16", tie_word_embeddings=True,
        n_shared_experts=0, first_k_dense_replace=0, n_group=1, topk_group=1, rope_interleave=False,
        quantization_config=packed_config(
            experts=([r"re:.*mlp\.experts\..*"], dict(num_bits=4, symmetric=False, strategy="group", group_size=20)),
            others=(["Linear"], dict(num_bits=8, symmetric=False, strategy="group", group_size=24)))),
    # int8: experts in groups of 32 (the last of 96 + 8 columns short), the rest one scale a row; two shared experts;
    # weights of the chosen experts not normalised, times 1.7; YaRN with mscale 0.707 but no mscale_all_dim (mscale then has
    # no say: cos and sin are scaled as by 1, softmax is not).
    "int8-channel": dict(
        BASE, hidden_size=104, n_shared_experts=2, norm_topk_prob=False, routed_scaling_factor=1.7,
        rope_scaling=yarn(mscale=0.707, mscale_all_dim=0.0),
        quantization_config=packed_config(
            experts=([r"re:.*mlp\.experts\..*"], dict(num_bits=8, symmetric=True, strategy="group", group_size=32)),
            others=(["Linear"], dict(num_bits=8, symmetric=True, strategy="channel")))),
    # fp8 e4m3 in blocks of 128 x 128 that divide no matrix; DeepSeek class with a router bias, halves RoPE, YaRN with both
    # mscales and neither 1 (cos and sin times their ratio, softmax scaled); a layer that predicts further tokens, ignored.
    "fp8-blocks-128": dict(
        BASE, **DEEPSEEK, hidden_size=144, intermediate_size=160, moe_intermediate_size=40, rope_interleave=False,
        scoring_func="sigmoid", topk_method="noaux_tc", num_nextn_predict_layers=1,
        rope_parameters=dict(rope_theta=10000.0, **yarn(mscale=0.707, mscale_all_dim=1.2)),
        quantization_config=dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])),
    # Every layer dense, no q_lora_rank, tied embeddings without a head on disk, equal mscales that are not 1, in f32 shards.
    "dense-tied": dict(
        BASE, **DEEPSEEK, first_k_dense_replace=3, q_lora_rank=None, tie_word_embeddings=True, torch_dtype="float32",
        rope_scaling=yarn(mscale=0.707, mscale_all_dim=0.707)),
    # Fused experts and a fused shared expert of width two, no dense layer, one group, an epsilon other than 1e-6 (the
    # reference keeps 1e-6 for the norms of the two latents), a bias that decides, old inverse-frequency buffers on disk.
    "fused-shared": dict(
        BASE, n_shared_experts=2, first_k_dense_replace=0, n_group=1, norm_topk_prob=True, routed_scaling_factor=1.0,
        rms_norm_eps=1e-3, rope_scaling=yarn(mscale=1.0, mscale_all_dim=0.0, attention_factor=1.25)),
}
for config in GOLDENS.values():
    if "rope_parameters" in config:
        del config["rope_theta"], config["rope_scaling"]


def weights_of(name, config, seed):
    """Every tensor in float32 under the names that transformers gives it, experts one by one."""
    random = torch.Generator().manual_seed(seed)
    normal = lambda *shape, deviation: torch.randn(*shape, generator=random) * deviation
    linear = lambda rows, columns, gain=1.0: normal(rows, columns, deviation=gain / columns ** 0.5)
    norm = lambda size: 1 + normal(size, deviation=0.1)
    c = lambda field: config[field]
    hidden, heads, width = c("hidden_size"), c("num_attention_heads"), c("qk_nope_head_dim") + c("qk_rope_head_dim")
    out = {"model.embed_tokens.weight": normal(c("vocab_size"), hidden, deviation=0.5), "model.norm.weight": norm(hidden)}
    if not c("tie_word_embeddings"):
        out["lm_head.weight"] = linear(c("vocab_size"), hidden)

    def mlp(module, inner):
        out[f"{module}.gate_proj.weight"] = linear(inner, hidden, 1.5)
        out[f"{module}.up_proj.weight"] = linear(inner, hidden, 1.5)
        out[f"{module}.down_proj.weight"] = linear(hidden, inner, 1.5)

    for index in range(c("num_hidden_layers") + c_or(config, "num_nextn_predict_layers")):
        layer = f"model.layers.{index}"
        attention = f"{layer}.self_attn"
        if c("q_lora_rank") is None:
            out[f"{attention}.q_proj.weight"] = linear(heads * width, hidden, 1.5)
        else:
            out[f"{attention}.q_a_proj.weight"] = linear(c("q_lora_rank"), hidden)
            out[f"{attention}.q_a_layernorm.weight"] = norm(c("q_lora_rank"))
            out[f"{attention}.q_b_proj.weight"] = linear(heads * width, c("q_lora_rank"), 1.5)
        out[f"{attention}.kv_a_proj_with_mqa.weight"] = linear(c("kv_lora_rank") + c("qk_rope_head_dim"), hidden, 1.5)
        out[f"{attention}.kv_a_layernorm.weight"] = norm(c("kv_lora_rank"))
        out[f"{attention}.kv_b_proj.weight"] = linear(heads * (c("qk_nope_head_dim") + c("v_head_dim")), c("kv_lora_rank"))
        out[f"{attention}.o_proj.weight"] = linear(hidden, heads * c("v_head_dim"))
        norms = ["input_layernorm", "post_attention_layernorm"]
        norms += ["post_mlp_layernorm"] if c("model_type") == "axk1" else []
        for norm_name in norms:
            out[f"{layer}.{norm_name}.weight"] = norm(hidden)
        if index < c("first_k_dense_replace"):
            mlp(f"{layer}.mlp", c("intermediate_size"))
            continue
        out[f"{layer}.mlp.gate.weight"] = linear(c("n_routed_experts"), hidden, 2.0)
        if name in ("fp8-blocks-128", "fused-shared"):
            out[f"{layer}.mlp.gate.e_score_correction_bias"] = normal(c("n_routed_experts"), deviation=0.2)
        for expert in range(c("n_routed_experts")):
            mlp(f"{layer}.mlp.experts.{expert}", c("moe_intermediate_size"))
        if c("n_shared_experts") > 0:
            mlp(f"{layer}.mlp.shared_experts", c("n_shared_experts") * c("moe_intermediate_size"))
    return out


def c_or(config, field, default=0):
    return config.get(field, default)


def pack(values, bits, axis):
    """0 ... 2^bits - 1 -> i32 words along `axis`, lowest bits first, the last word filled with zeros."""
    per_word = 32 // bits
    values = values.movedim(axis, -1).long()
    values = torch.nn.functional.pad(values, (0, -values.shape[-1] % per_word)).unflatten(-1, (-1, per_word))
    words = (values << torch.arange(0, 32, bits)).sum(-1)
    return words.where(words < 2 ** 31, words - 2 ** 32).to(torch.int32).movedim(-1, axis).contiguous()


def quantise_packed(module, weight, scheme, kind):
    """The nearest of 2^bits steps between each group's least and largest value; symmetric: around 0."""
    bits, (rows, columns) = scheme["num_bits"], weight.shape
    group = scheme.get("group_size", columns)
    starts = range(0, columns, group)
    least = torch.stack([weight[:, at:at + group].amin(1) for at in starts], 1).clamp(max=0)
    largest = torch.stack([weight[:, at:at + group].amax(1) for at in starts], 1).clamp(min=0)
    middle, most = 2 ** (bits - 1), 2 ** bits - 1
    if scheme["symmetric"]:
        scale = (torch.maximum(-least, largest) / (middle - 0.5)).to(kind)
        zero = torch.full_like(scale, middle, dtype=torch.float32)
    else:
        scale = ((largest - least) / most).to(kind)
        zero = (-least / scale.float()).round().clamp(0, most)
    wide = lambda grouped: grouped.float().repeat_interleave(group, 1)[:, :columns]
    values = (weight / wide(scale) + wide(zero)).round().clamp(0, most)
    out = {f"{module}.weight_packed": pack(values, bits, 1), f"{module}.weight_scale": scale,
           f"{module}.weight_shape": torch.tensor([rows, columns])}
    if not scheme["symmetric"]:
        out[f"{module}.weight_zero_point"] = pack(zero, bits, 0)
    return out


def quantise_fp8(module, weight, block):
    """Each block of [rows, columns] scaled so that its largest value is 448, the type's largest."""
    scale = torch.zeros(*(-(-size // of) for size, of in zip(weight.shape, block)))
    for row in range(scale.shape[0]):
        for column in range(scale.shape[1]):
            part = weight[row * block[0]:(row + 1) * block[0], column * block[1]:(column + 1) * block[1]]
            scale[row, column] = part.abs().max() / 448
    wide = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:weight.shape[0], :weight.shape[1]]
    return {f"{module}.weight": (weight / wide).to(torch.float8_e4m3fn), f"{module}.weight_scale_inv": scale}


def stored(name, config, weights):
    """The tensors as this golden keeps them on disk."""
    kind, quantization = KINDS[config["torch_dtype"]], config.get("quantization_config")
    out = {}
    for tensor, weight in weights.items():
        module = tensor.removesuffix(".weight")
        is_linear = weight.dim() == 2 and not module.endswith(("embed_tokens", "lm_head", "mlp.gate"))
        if tensor.endswith("e_score_correction_bias"):
            out[tensor] = weight
        elif quantization is None or not is_linear:
            out[tensor] = weight.to(kind)
        elif quantization["quant_method"] == "fp8":
            out.update(quantise_fp8(module, weight, quantization["weight_block_size"]))
        else:
            group = quantization["config_groups"]["experts" if ".mlp.experts." in module else "others"]
            out.update(quantise_packed(module, weight, group["weights"], kind))
    if name == "int4-zero-points":
        out["lm_head.weight"] = out["model.embed_tokens.weight"].clone()
    if name == "fused-shared":
        fuse(config, out)
        for index in range(config["num_hidden_layers"]):
            out[f"model.layers.{index}.self_attn.rotary_emb.inv_freq"] = torch.zeros(config["qk_rope_head_dim"] // 2)
    if name == "fp8-blocks-128":
        last = f"model.layers.{config['num_hidden_layers']}"
        for norm in ("enorm", "hnorm", "shared_head.norm"):
            out[f"{last}.{norm}.weight"] = torch.ones(config["hidden_size"], dtype=kind)
        out[f"{last}.eh_proj.weight"] = torch.zeros(config["hidden_size"], 2 * config["hidden_size"], dtype=kind)
    return out


def fuse(config, tensors):
    """Experts of a layer as two tensors, the shared one's gate and up as one."""
    for index in range(config["num_hidden_layers"]):
        mlp = f"model.layers.{index}.mlp"
        take = lambda module, part: tensors.pop(f"{mlp}.{module}.{part}.weight")
        gate_up = lambda module: torch.cat([take(module, "gate_proj"), take(module, "up_proj")])
        experts = [f"experts.{expert}" for expert in range(config["n_routed_experts"])]
        tensors[f"{mlp}.experts.gate_up_proj"] = torch.stack([gate_up(expert) for expert in experts])
        tensors[f"{mlp}.experts.down_proj"] = torch.stack([take(expert, "down_proj") for expert in experts])
        tensors[f"{mlp}.shared_experts.gate_up_proj.weight"] = gate_up("shared_experts")


def write(folder, config, tensors):
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    json.dump(config, open(f"{folder}/config.json", "w"), indent=2)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if not folder.endswith("dense-tied"):
        return save_file(tensors, f"{folder}/model.safetensors", {"format": "pt"})
    names, shards = sorted(tensors), ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    homes = {name: shards[at % 2] for at, name in enumerate(names)}
    for shard in shards:
        save_file({name: tensors[name] for name in names if homes[name] == shard}, f"{folder}/{shard}", {"format": "pt"})
    total = sum(tensor.nbytes for tensor in tensors.values())
    json.dump({"metadata": {"total_size": total}, "weight_map": homes}, open(f"{folder}/model.safetensors.index.json", "w"))


def smallest_gap(model, expected):
    """How near a choice came to being another: of a group, an expert, a greedy token."""
    gaps = []

    def watch(router, inputs, _):
        scores = torch.nn.functional.linear(inputs[0].reshape(-1, router.hidden_dim), router.weight).sigmoid()
        scores = scores + router.e_score_correction_bias
        groups = scores.unflatten(-1, (router.num_group, -1))
        sums = groups.topk(2, -1)[0].sum(-1)
        best = sums.sort(-1, descending=True)
        if router.topk_group < router.num_group:
            gaps.append((best[0][:, router.topk_group - 1] - best[0][:, router.topk_group]).min())
        kept = torch.zeros_like(sums).scatter_(1, best[1][:, :router.topk_group], 1).bool()
        scores = groups.masked_fill(~kept[..., None], float("-inf")).flatten(-2).sort(-1, descending=True)[0]
        gaps.append((scores[:, router.top_k - 1] - scores[:, router.top_k]).min())

    for layer in model.model.layers:
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate.register_forward_hook(watch)
    for name in [name for name in expected if name.startswith("greedy.")]:
        key = name[7:]
        tokens = torch.cat([expected[f"ids.{key}"], expected[name]]).long()[None]
        top = model(tokens[:, :-1], use_cache=False).logits[0, -len(expected[name]):].topk(2)[0]
        gaps.append((top[:, 0] - top[:, 1]).min())
    return min(gap.item() for gap in gaps)


@torch.no_grad()
def make(name):
    folder, config = f"{HERE}/{name}", GOLDENS[name]
    for seed in range(SEEDS):
        random = torch.Generator().manual_seed(1000 + seed)
        prompts = {str(k): torch.randint(2, config["vocab_size"], (count,), generator=random)
                   for k, count in enumerate(PROMPT_TOKENS)}
        weights = weights_of(name, config, seed)
        write(folder, config, stored(name, config, weights))
        deviation = load(folder)(prompts["3"][None], use_cache=False).logits.std()
        weights["model.norm.weight"] *= LOGIT_DEVIATION / deviation
        write(folder, config, stored(name, config, weights))
        model = load(folder)
        expected = expectations(model, prompts)
        gap = smallest_gap(model, expected)
        if gap >= GAP_MIN:
            save_file(expected, f"{folder}/float32.safetensors", VERSIONS)
            size = sum(os.path.getsize(f"{folder}/{file}") for file in os.listdir(folder))
            print(f"{name}: seed {seed}, smallest gap {gap:.1e}, {size} bytes", flush=True)
            return
    raise ValueError(f"{name}: no seed below {SEEDS} is decisive")


for golden in sys.argv[1:] or GOLDENS:
    make(golden)
