"""What a bundle does by itself, without a gallery: on ONNX Runtime, without PyTorch."""
