"""The CNN as PyTorch's own tutorial would train it: DataLoader, module, loop. Prints seconds."""

import sys
import time

import job
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

cfg, device, arrays = job.read(sys.argv[1])
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.conv.fp32_precision = "ieee"  # as the harness: not TF32


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 50, 3, padding=1)
        self.conv2 = nn.Conv2d(50, 50, 3, padding=1)
        self.conv3 = nn.Conv2d(50, 100, 3, padding=1)
        self.conv4 = nn.Conv2d(100, 100, 3, padding=1)
        self.fc1 = nn.Linear(100 * 8 * 8, 512)
        self.fc2 = nn.Linear(512, 10)
        self.drop1 = nn.Dropout(cfg["dropout"][0])
        self.drop2 = nn.Dropout(cfg["dropout"][1])

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = self.drop1(F.relu(F.max_pool2d(self.conv2(x), 2)))
        x = F.relu(self.conv3(x))
        x = self.drop1(F.relu(F.max_pool2d(self.conv4(x), 2)))
        x = self.drop2(F.relu(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


data = TensorDataset(torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"]).long())
loader = DataLoader(data, batch_size=cfg["batch_size"], shuffle=True, drop_last=True)
model = Cnn().to(device)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=cfg["learning_rate"], momentum=cfg["momentum"])
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
