"""Export to ONNX, run it without PyTorch, and compare outputs, latency and file size.

Run it: python examples/06_deploy_onnx.py
It takes 7 seconds of one core and leaves the files in runs/06-deploy. What it deploys is the result
of example 01; where that has not been run here, it is run first.
"""

import runpy
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

import archpress

OUT = Path("runs/06-deploy")


def median_ms(call: Callable[[], object]) -> float:
    """Return the median milliseconds of a call, warm."""
    times = []
    for _ in range(200):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[20:])


def deploy(name: str, architecture: archpress.Architecture, model: torch.nn.Module) -> None:
    """Export one network, run it by onnxruntime, print a line."""
    import onnxruntime

    archpress.export(architecture, model, OUT / name, onnx=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(OUT / name / "model.onnx", options)
    images = torch.randn(64, *architecture.input_shape).numpy()
    one = images[:1]
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
        pytorch = median_ms(lambda: model(torch.from_numpy(one)))
    difference = np.abs(session.run(["logits"], {"images": images})[0] - expected).max()
    runtime = median_ms(lambda: session.run(["logits"], {"images": one}))
    size = (OUT / name / "model.onnx").stat().st_size
    print(
        f"{name:<6}  {size:>7,} bytes  {runtime:.3f} ms by onnxruntime  {pytorch:.3f} ms by "
        f"PyTorch  outputs differ by {difference:.1e} of {np.abs(expected).max():.1f}"
    )


def main() -> None:
    """Deploy the network of example 01, before and after compression."""
    if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        print('skipped: this example needs pip install "archpress[onnx]"')
        return
    torch.set_num_threads(1)
    # The same call as there: a run that is finished is read, nothing is trained again.
    example = runpy.run_path(str(Path(__file__).with_name("01_compress_digits.py")))
    result = example["compress"](example["OUT"])
    for name, network in (("before", result.base), ("after", result.compressed)):
        deploy(name, network.architecture, network.model())


if __name__ == "__main__":
    main()
