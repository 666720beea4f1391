"""Record steps of PyTorch's SGD, for the tests: ``PYTHONPATH=. python tests/nn/training/record_pytorch.py``.

Needs torch (2.13.0, CPU) and numpy.
"""

import numpy as np
import torch

from tests.nn.training.cases import RATES, RECORD, SETTINGS, SHAPES, WITHOUT_BIAS


def main():
    generator = torch.Generator().manual_seed(7)
    found = {"torch": np.array(torch.__version__)}
    start = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    gradients = [{name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()} for _ in RATES]
    found |= {f"start/{name}": value.numpy() for name, value in start.items()}
    found |= {f"{step}/d{name}": value.numpy() for step, given in enumerate(gradients) for name, value in given.items()}
    for case, settings in SETTINGS.items():
        parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
        optimizer = torch.optim.SGD(parameters.values(), lr=RATES[0], **settings)
        for step, rate in enumerate(RATES):
            optimizer.param_groups[0]["lr"] = rate
            for name, parameter in parameters.items():
                parameter.grad = None if (step, name) == (WITHOUT_BIAS, "bias") else gradients[step][name].clone()
            optimizer.step()
            found |= {f"{case}/{step}/{name}": value.detach().numpy().copy() for name, value in parameters.items()}
    np.savez_compressed(RECORD, **found)
    print(RECORD, RECORD.stat().st_size)


if __name__ == "__main__":
    main()
