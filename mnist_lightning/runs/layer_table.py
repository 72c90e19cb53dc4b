"""The layer table of a network: output shape, receptive field and parameters, computed from its modules."""

from dataclasses import dataclass, field

from torch import nn

from mnist_lightning.network import LayeredNet, executed_layers, num_trainable_parameters


@dataclass
class LayerRow:
    """One row: a convolution with the batch norm and activation that follow it, or dropout with its pooling."""

    layers: list[str] = field(default_factory=list)
    output_shape: tuple[int, ...] = ()  # without the batch: (C, H, W) or (C,)
    receptive_field_pixels: int | None = None  # side of the receptive field; None: the whole image, 0: unknown
    num_parameters: list[int] = field(default_factory=list)  # of each layer that has parameters


def layer_table(net: nn.Module) -> list[LayerRow]:
    """The layers in order; receptive fields follow https://distill.pub/2019/computing-receptive-fields/."""
    rows: list[LayerRow] = []
    receptive_field: int | None = 1
    stride = 1
    counted: set[nn.Module] = set()
    for module, _, output in executed_layers(net):
        if _starts_row(module, rows[-1] if rows else None):
            rows.append(LayerRow())
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.Linear):
            receptive_field = None
        elif isinstance(module, nn.Conv2d | nn.MaxPool2d) and receptive_field is not None:
            receptive_field += (_side(module.kernel_size) - 1) * stride
            stride *= _side(module.stride)
        row = rows[-1]
        row.layers.append(_describe(module))
        row.output_shape = tuple(output.shape[1:])
        row.receptive_field_pixels = receptive_field if isinstance(net, LayeredNet) else 0
        if module not in counted and (num := num_trainable_parameters(module)):
            row.num_parameters.append(num)
        counted.add(module)
    if rest := num_trainable_parameters(net) - sum(sum(row.num_parameters) for row in rows):
        rows.append(LayerRow(["parameters outside of layers"], receptive_field_pixels=0, num_parameters=[rest]))
    return rows


def _starts_row(module: nn.Module, row: LayerRow | None) -> bool:
    if row is None or isinstance(module, nn.Conv2d | nn.Linear | nn.Dropout | nn.AdaptiveAvgPool2d):
        return True
    return isinstance(module, nn.MaxPool2d) and not row.layers[-1].startswith("Dropout")


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def _describe(module: nn.Module) -> str:
    side = _side(getattr(module, "kernel_size", 0))
    match module:
        case nn.Conv2d():
            return f"Conv {side}×{side}, {module.in_channels}→{module.out_channels}"
        case nn.BatchNorm2d():
            return "BN"
        case nn.Dropout():
            return f"Dropout {module.p:g}"
        case nn.MaxPool2d():
            return f"MaxPool {side}×{side}"
        case nn.AdaptiveAvgPool2d():
            return "Global average pooling"
        case _:
            return type(module).__name__


def format_layer_table(rows: list[LayerRow]) -> str:
    """The table as text, one line per row, with the total number of parameters below."""
    cells = [("layer", "output", "receptive field", "parameters")]
    for row in rows:
        seen = "whole image" if row.receptive_field_pixels is None else str(row.receptive_field_pixels or "–")
        parameters = " + ".join(f"{num:,}" for num in row.num_parameters)
        cells.append((" · ".join(row.layers), "×".join(map(str, row.output_shape)), seen, parameters))
    total = sum(sum(row.num_parameters) for row in rows)
    cells.append(("trainable parameters", "", "", f"{total:,}"))
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
