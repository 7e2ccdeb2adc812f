"""The encoder E: a residual 1-D CNN over the sequence of layers (section 4.1, appendix 8)."""

from torch import Tensor, nn

from archpress.embedding.tokens import POSITIONS

KERNEL = 3
STAGES = 4
FINAL_POSITIONS = POSITIONS // 2**STAGES


class ResidualBlock(nn.Module):
    """``x' = act(batch_norm(conv(x))) + shortcut(x)`` (appendix 8).

    Where the block is strided or changes channels the shortcut is a second convolution of the same
    stride, else it is x itself. ``[B, C_in, T]`` in, ``[B, C_out, ceil(T / stride)]`` out.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, KERNEL, stride, KERNEL // 2)
        self.norm = nn.BatchNorm1d(outputs)
        self.activation = nn.ReLU()
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv1d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        result: Tensor = self.activation(self.norm(self.convolution(x))) + self.shortcut(x)
        return result


class Encoder(nn.Module):
    """``y = E(x)``: ``[B, inputs, T]`` to ``[B, D]``.

    Four stages of a plain and a strided block take 64 positions to 4, then a linear map to D.

    Args:
        inputs: Channels of the codec.
        channels: Channels of every block.
        size: D.
    """

    def __init__(self, inputs: int, channels: int, size: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [ResidualBlock(inputs, channels)]
        for _ in range(STAGES):
            blocks += [ResidualBlock(channels, channels), ResidualBlock(channels, channels, 2)]
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Linear(channels * FINAL_POSITIONS, size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings ``[B, D]``."""
        y: Tensor = self.project(self.blocks(x).flatten(1))
        return y
