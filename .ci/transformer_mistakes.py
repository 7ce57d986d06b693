"""The mistakes that are planted in harnesses of the Transformer: cause → what is edited.

Used by check_mutations.py, which has each caught and named, and by
measure_transformer.py, which measures what each does to the training.
"""

import planting

CLIP = "variants: {transformer: [clip_epsilon]}"
HAT = "variants: {transformer: [adam_epsilon_hat]}"
TRANSFORMER_CLASS = "class Transformer(nn.Module):"
# Rows of queries, keys and values, so that every fourth one is of one head; and back.
INTERLEAVED = """def interleave(name, w, *split):
    if "in_proj" not in name:
        return w
    return w.reshape(3, *split, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


state = {n: interleave(n, w, 32, 4) for n, w in state.items()}
model.load_state_dict(state)"""

# All in the harness of PyTorch unless another target is named, with its variants. Those of SOME are
# always planted, the others with `--full`.
ALL = {
    "gelu_tanh": [
        ("nn.functional.gelu,", "lambda x: nn.functional.gelu(x, approximate='tanh'),"),
    ],
    "norm_epsilon_1e-3": ([("(epsilon=cfg.norm_epsilon)", "()")], "keras-jax", HAT),
    "norm_epsilon_1e-6": ([(", epsilon=cfg.norm_epsilon", "")], "jax"),
    # Without a word of padding, PyTorch's fused layer has nothing but NaN: JAX attends to all alike.
    "mask_inverted": ([("mask=is_word[:, None, None]", "mask=~is_word[:, None, None]")], "jax"),
    "padding_attended": [("x, src_key_padding_mask=padding)", "x)")],
    "mean_over_padding": [
        ("x.masked_fill(padding[..., None], 0).sum(1)", "x.mean(1)"),
        ("x / (~padding).sum(1, keepdim=True)", "x"),
    ],
    "post_norm": [("norm_first=True", "norm_first=False")],
    "heads_interleaved": [
        ("model.load_state_dict(state)", INTERLEAVED),
        ("name: w.cpu().numpy()", "name: interleave(name, w.cpu().numpy(), 4, 32)"),
    ],
    "attention_unscaled": [
        (
            TRANSFORMER_CLASS,
            "torch.backends.mha.set_fastpath_enabled(False)\n"
            "scaled = nn.functional.scaled_dot_product_attention\n"
            "nn.functional.scaled_dot_product_attention = (\n"
            "    lambda *words, **more: scaled(*words, **more, scale=1.0)\n"
            ")\n\n\n" + TRANSFORMER_CLASS,
        )
    ],
    "embedding_scaled": [("self.embedding(x) +", "self.embedding(x) * cfg.width**0.5 +")],
    "softmax_twice": [("loss_fn(model(tokens(x)),", "loss_fn(model(tokens(x)).softmax(1),")],
    "labels_exchanged": [("labels(y))\n        optimizer", "1 - labels(y))\n        optimizer")],
    "loss_summed": [("nn.CrossEntropyLoss()", 'nn.CrossEntropyLoss(reduction="sum")')],
    "clip_epsilon": ([], "pytorch", "variants: {}"),
    "clip_absent": [("        nn.utils.clip_grad_norm_(weights, cfg.clip_norm)\n", "")],
    "clip_each_array": ([("global_clipnorm=", "clipnorm=")], "keras-jax", HAT),
    "warmup_late": [
        (
            "LinearLR(\n    optimizer, 1 / cfg.warmup_steps, total_iters=cfg.warmup_steps - 1\n)",
            "LambdaLR(optimizer, lambda t: min(1, t / cfg.warmup_steps))",
        )
    ],
    "warmup_stuck": [("        warmup.step()", "        pass")],
    "warmup_absent": [("optimizer, 1 / cfg.warmup_steps,", "optimizer, 1.0,")],
    "decay_coupled": [("torch.optim.AdamW(", "torch.optim.Adam(")],
    "decay_of_all": [(', "weight_decay": 0}', "}")],
    "decay_not_of_embeddings": [
        (
            '{"params": [w for w in weights if w.ndim > 1]},',
            '{"params": [w for w in weights if w.ndim > 1][2:]},\n'
            '        {"params": [w for w in weights if w.ndim > 1][:2], "weight_decay": 0},',
        )
    ],
    "decay_absent": [("weight_decay=cfg.weight_decay", "weight_decay=0")],
    "attention_without_biases": [
        (
            "# %% Loss and",
            "for layer in model.encoder.layers:\n"
            "    layer.self_attn.in_proj_bias.requires_grad = False\n"
            "    layer.self_attn.out_proj.bias.requires_grad = False\n\n# %% Loss and",
        )
    ],
    "adam_epsilon_hat": ([], "keras-jax", "variants: {}"),
    "adam_epsilon_1e-7": [("eps=cfg.epsilon", "eps=1e-7")],
    "adam_epsilon_hat_1e-7": (
        [("    cfg.epsilon,\n    global", "    global")],
        "keras-jax",
        "variants: {}",
    ),
}
SOME = ("gelu_tanh", "padding_attended", "heads_interleaved", "clip_absent", "decay_coupled")


def plant(project, cause):
    """Plants one of them; returns the name of its target."""
    planted = ALL[cause]
    edits, target, *more = planted if isinstance(planted, tuple) else (planted, "pytorch", CLIP)
    name = "m-transformer-" + cause.replace("_", "-")
    planting.plant(project, name, target, "transformer", edits, *more)
    return name
