"""The Transformer as PyTorch's own tutorials would train it: nn.TransformerEncoder, loop. Prints seconds."""

import sys
import time

import job
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

cfg, device, arrays = job.read(sys.argv[1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg["vocabulary"], cfg["width"])
        self.positions = nn.Parameter(0.02 * torch.randn(cfg["length"], cfg["width"]))
        words = cfg["width"], cfg["heads"], cfg["hidden"], cfg["dropout"]
        layer = nn.TransformerEncoderLayer(*words, activation="gelu", batch_first=True, norm_first=True)
        layer.self_attn.dropout = layer.dropout.p = 0.0  # no more work than the harness has
        norm = nn.LayerNorm(cfg["width"])
        self.encoder = nn.TransformerEncoder(layer, cfg["blocks"], norm, enable_nested_tensor=False)
        self.fc = nn.Linear(cfg["width"], cfg["classes"])

    def forward(self, x):
        padding = x == 0
        x = self.encoder(self.embedding(x) + self.positions, src_key_padding_mask=padding)
        words = (~padding).unsqueeze(-1)
        return self.fc((x * words).sum(1) / words.sum(1))


data = TensorDataset(torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"]).long())
loader = DataLoader(data, batch_size=cfg["batch_size"], shuffle=True, drop_last=True)
model = Transformer().to(device)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=cfg["learning_rate"], weight_decay=cfg["weight_decay"])
wait = torch.cuda.synchronize if device == "cuda" else lambda: None

wait()
started = time.perf_counter()
for epoch in range(cfg["epochs"]):
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), cfg["clip_norm"])
        optimizer.step()
wait()
print(time.perf_counter() - started)
