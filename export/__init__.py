"""Stage 2: run -> bundle. Freezes a trained model to ONNX and proves that nothing changed."""
