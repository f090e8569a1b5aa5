"""One of two processes that train with DistributedDataParallel, on its half of every batch.

Process 0 first trains alone on whole batches: with stored statistics as they are, with batch
statistics on the mean of the two halves' losses, which is what two processes minimise.
"""

import json
import os

import torch
from network import LOSS, STEPS, batches, build, weights
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


def train(model, forward, shares) -> list[float]:
    """Train; return the losses, the mean over the shares of each batch."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9)
    losses = []
    for x, y in batches():
        x, y = torch.tensor(x), torch.tensor(y)
        parts = [LOSS(y[share], forward(x[share], training=True)) for share in shares]
        loss = sum(parts) / len(parts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Print the losses and the trained weights, alone and together."""
    torch.set_num_threads(1)
    rank, port = int(os.environ["RANK"]), os.environ["PORTS"].split(",")[0]
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    halves = [slice(0, 8), slice(8, 16)]
    found = {}
    for name, frozen, shares in (("stored", True, [slice(None)]), ("batch", False, halves)):
        model = build(frozen)
        found[f"{name}, alone"] = train(model, model, shares), weights(model)
        model = build(frozen)
        losses = torch.tensor(train(model, DistributedDataParallel(model), [halves[rank]]))
        distributed.all_reduce(losses)
        found[f"{name}, together"] = (losses / 2).tolist(), weights(model)
    assert len(losses) == STEPS
    distributed.destroy_process_group()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
