"""Stage 1: images -> run. Learns to see, with PyTorch.

The modules that the later stages share (errors, files, images, decoding, command line, progress, workspace)
need no PyTorch: serving never loads it.
"""
