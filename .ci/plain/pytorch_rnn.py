"""The GRU as PyTorch's own tutorial would train it: DataLoader, module, loop. Prints seconds."""

import sys
import time

import job
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

cfg, device, arrays = job.read(sys.argv[1])
torch.backends.cudnn.rnn.fp32_precision = "ieee"  # as the harness: not TF32


class Rnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg["vocabulary"], cfg["embedding"])
        self.gru = nn.GRU(cfg["embedding"], cfg["units"], batch_first=True)
        self.fc = nn.Linear(cfg["units"], cfg["classes"])

    def forward(self, x):
        output, hidden = self.gru(self.embedding(x))
        return self.fc(hidden[-1])


data = TensorDataset(torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"]).long())
loader = DataLoader(data, batch_size=cfg["batch_size"], shuffle=True, drop_last=True)
model = Rnn().to(device)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=cfg["learning_rate"])
wait = torch.cuda.synchronize if device == "cuda" else lambda: None

wait()
started = time.perf_counter()
for epoch in range(cfg["epochs"]):
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
wait()
print(time.perf_counter() - started)
