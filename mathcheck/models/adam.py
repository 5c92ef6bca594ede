r"""Adam as one function of the data, so that a training step can be compiled whole.

$m \gets \beta_1 m + (1 - \beta_1)g$, $v \gets \beta_2 v + (1 - \beta_2)g^2$ and $\theta \gets \theta -
\eta\,\hat m/(\sqrt{\hat v} + \varepsilon)$ with $\hat m = m/(1 - \beta_1^t)$, $\hat v = v/(1 - \beta_2^t)$ at step t.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from mathcheck.engine import arguments


def adam_step(
    objective: nn.Module, rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Callable[..., Tensor]:
    r"""A function that takes one step of Adam down an objective, in place, and returns its value before the step.

    Called as it is, it is a backward pass and torch's fused update. Through `torch.compile(step)` the objective, its
    gradient and the update become one graph, without the time that is spent between operations; the objective must then
    be one that torch compiles whole. Of a large net, compile the objective instead.

    Args:
        objective: a module whose call returns a number to be made small, `()`; its parameters are changed.
        rate: $\eta$, positive.
        betas: $\beta_1$ and $\beta_2$, each from 0 to below 1.
        eps: $\varepsilon$, positive.

    Returns:
        The step, a function of what the objective takes.

    Raises:
        TypeError, ValueError: for arguments of other types or ranges, or an objective without parameters.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1.
    """
    arguments.instances(nn.Module, objective=objective)
    arguments.positive(rate=rate, eps=eps)
    arguments.instances(tuple, betas=betas)
    if len(betas) != 2 or not all(isinstance(beta, float | int) and 0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be two numbers from 0 to below 1, got {betas}")
    names = [name for name, _ in objective.named_parameters()]
    parameters: list[Tensor] = list(objective.parameters())
    if not parameters:
        raise ValueError("objective must have parameters, got none")
    if len({(p.dtype, p.device) for p in parameters}) > 1:
        raise ValueError("objective must have parameters of one dtype on one device, got several")
    sizes = [p.numel() for p in parameters]
    # One piece of memory each, so that the compiled update is one loop, and the parts of it for torch's update.
    mean, square = torch.zeros(2, sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
    count = torch.zeros(len(parameters), device=parameters[0].device)
    means, squares = (
        [part.view_as(p) for part, p in zip(t.split(sizes), parameters, strict=True)] for t in (mean, square)
    )
    counts = list(count.unbind())

    def compiled(*inputs: Tensor) -> Tensor:
        def value_of(values: list[Tensor]) -> Tensor:
            found: Tensor = torch.func.functional_call(objective, dict(zip(names, values, strict=True)), inputs)
            return found

        value: Tensor
        gradients, value = torch.func.grad_and_value(value_of)([p.detach() for p in parameters])
        with torch.no_grad():
            gradient = torch.cat([g.flatten() for g in gradients])
            count.add_(1)
            mean.lerp_(gradient, 1 - betas[0])
            square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            scale = (square / (1 - betas[1] ** count[0])).sqrt() + eps
            change = rate / (1 - betas[0] ** count[0]) * mean / scale
            for p, part in zip(parameters, change.split(sizes), strict=True):
                p.sub_(part.view_as(p))
        return value

    def step(*inputs: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return compiled(*inputs)
        value: Tensor = objective(*inputs)
        gradients = list(torch.autograd.grad(value, parameters))
        with torch.no_grad():
            adam(
                parameters,
                gradients,
                means,
                squares,
                [],
                counts,
                fused=True,
                amsgrad=False,
                beta1=betas[0],
                beta2=betas[1],
                lr=rate,
                weight_decay=0.0,
                eps=eps,
                maximize=False,
            )
        return value.detach()

    return step
