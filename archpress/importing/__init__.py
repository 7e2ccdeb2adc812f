"""Networks from elsewhere: a module, a factory or a file in, an architecture with weights out.

``recording`` and ``onnx_graphs`` turn networks into steps, ``assembly`` steps into an architecture.
"""
