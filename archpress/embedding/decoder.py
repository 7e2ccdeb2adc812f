"""The decoder D: the encoder mirrored, with transposed convolutions (section 4.1)."""

from torch import Tensor, nn

from archpress.embedding.encoder import FINAL_POSITIONS, KERNEL, STAGES


class TransposedBlock(nn.Module):
    """``x' = act(batch_norm(conv_transposed(x))) + shortcut(x)``.

    ``[B, C_in, T]`` in, ``[B, C_out, T * stride]`` out; the shortcut is a transposed convolution of
    the same stride where the shape changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose1d(
            inputs, outputs, KERNEL, stride, KERNEL // 2, output_padding=stride - 1
        )
        self.norm = nn.BatchNorm1d(outputs)
        self.activation = nn.ReLU()
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.ConvTranspose1d(inputs, outputs, stride, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        result: Tensor = self.activation(self.norm(self.convolution(x))) + self.shortcut(x)
        return result


class Decoder(nn.Module):
    """``x_hat = D(y)``: ``[B, D]`` to ``[B, outputs, T]``, real-valued.

    Args:
        outputs: Channels that the codec reads.
        channels: Channels of every block.
        size: D.
    """

    def __init__(self, outputs: int, channels: int, size: int) -> None:
        super().__init__()
        self.channels = channels
        self.expand = nn.Linear(size, channels * FINAL_POSITIONS)
        blocks: list[nn.Module] = []
        for _ in range(STAGES):
            blocks += [TransposedBlock(channels, channels, 2), TransposedBlock(channels, channels)]
        self.blocks = nn.Sequential(*blocks)
        self.read = nn.ConvTranspose1d(channels, outputs, KERNEL, padding=KERNEL // 2)

    def forward(self, y: Tensor) -> Tensor:
        """Return the decoder output ``[B, outputs, T]``."""
        h = self.expand(y).view(-1, self.channels, FINAL_POSITIONS)
        output: Tensor = self.read(self.blocks(h))
        return output
